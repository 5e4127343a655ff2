//! The values slots hold. They are stored, so the order of variants and fields is a format.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::json::Json;

/// A fixed-point number in millionths: exact, never a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Decimal(i64);

impl Decimal {
    /// Millionths in one.
    pub const SCALE: i64 = 1_000_000;

    /// Makes one from millionths.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The number in millionths.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Parses `-12.5`: an optional sign, digits, and at most six digits after a point.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || fraction.len() > 6
            || digits.ends_with('.')
            || !all_digits(whole)
            || !all_digits(fraction)
        {
            return None;
        }
        let whole: i64 = whole.parse().ok()?;
        let mut micros = 0_i64;
        for place in 0..6 {
            let digit = fraction.as_bytes().get(place).map_or(0, |byte| i64::from(byte - b'0'));
            micros = micros * 10 + digit;
        }
        let total = whole.checked_mul(Self::SCALE)?.checked_add(micros)?;
        Some(Self(if negative { -total } else { total }))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let scale = Self::SCALE.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let fraction = format!("{:06}", magnitude % scale);
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{sign}{}", magnitude / scale),
            digits => write!(f, "{sign}{}.{digits}", magnitude / scale),
        }
    }
}

/// A day of the Gregorian calendar, without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// Parses `YYYY-MM-DD` and refuses days that do not exist.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |part: &str, len: usize| part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts.next().is_some() || !digits(year, 4) || !digits(month, 2) || !digits(day, 2) {
            return None;
        }
        let (year, month, day) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
        let leap = |year: u16| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap(year) => 29,
            2 => 28,
            _ => return None,
        };
        (1..=days).contains(&day).then_some(Self { year, month, day })
    }
}

impl Date {
    /// The day (UTC) of a number of days since 1970-01-01; `None` past the year 9999.
    ///
    /// Counts in eras of 400 years that begin on 1 March, so that the leap day comes last
    /// (H. Hinnant, "chrono-compatible low-level date algorithms").
    pub fn from_unix_days(days: u64) -> Option<Self> {
        let shifted = days.checked_add(719_468)?;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let date =
            Self { year: u16::try_from(year).ok()?, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? };
        (year <= 9999).then_some(date)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// What a slot holds. The order of the variants is the stored format.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SlotValue {
    /// A text, or one of an enumeration's values.
    Text(Arc<str>),
    /// A whole number.
    Integer(i64),
    /// A fixed-point number.
    Decimal(Decimal),
    /// True or false.
    Boolean(bool),
    /// A calendar day.
    Date(Date),
    /// Several values of one type.
    List(Vec<Json>),
    /// A structured value.
    Object(Json),
}

impl fmt::Display for SlotValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Decimal(number) => number.fmt(f),
            Self::Boolean(truth) => truth.fmt(f),
            Self::Date(date) => date.fmt(f),
            Self::List(items) => {
                for (place, item) in items.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { ", " })?;
                    f.write_str(&item.plain())?;
                }
                Ok(())
            }
            Self::Object(object) => object.fmt(f),
        }
    }
}
