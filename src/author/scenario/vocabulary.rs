//! Words of scenarios that stand for variants of the machine's enums: `no_match` for `NoMatch`.
//!
//! They are read by the enums' own decoders, so that a new variant is known here at once.

use std::fmt;

use serde::{
    de::{DeserializeOwned, Error, IntoDeserializer as _},
    ser::StdError,
};

/// What `word` stands for.
///
/// # Errors
/// Every word there is.
pub(super) fn parse<T: DeserializeOwned>(word: &str) -> Result<T, Vec<String>> {
    let found = T::deserialize(camel(word).into_deserializer());
    match found {
        Ok(value) if snake(&camel(word)) == word => Ok(value),
        Ok(_) => Err(known::<T>()),
        Err(Variants(variants)) => Err(words(variants)),
    }
}

/// Every word of an enum.
pub(super) fn known<T: DeserializeOwned>() -> Vec<String> {
    match T::deserialize(String::new().into_deserializer()) {
        Err(Variants(variants)) => words(variants),
        Ok(_) => Vec::new(),
    }
}

fn words(variants: &[&str]) -> Vec<String> {
    variants.iter().map(|variant| snake(variant)).collect()
}

fn camel(word: &str) -> String {
    let capitalised = word.split('_').map(|part| {
        let mut letters = part.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    capitalised.collect()
}

fn snake(variant: &str) -> String {
    let mut word = String::with_capacity(variant.len() + 4);
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

/// The error of a decoder, of which only the variants it knows are of interest.
#[derive(Debug)]
struct Variants(&'static [&'static str]);

impl fmt::Display for Variants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl StdError for Variants {}

impl Error for Variants {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}
