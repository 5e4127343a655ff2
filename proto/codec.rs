//! How messages become bytes, and come from them.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// Bytes of the buffer that each message begins with: most fit, and others let it grow. tonic's own are eight times as large, and the
/// two of a call were two fifths of all that a short turn allocated.
const BUFFER_BYTES: usize = 1024;
/// Bytes that a stream collects before it sends them: tonic's default.
const YIELD_BYTES: usize = 32 * 1024;

/// Protobuf in buffers that fit a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ShortCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ShortCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}
