//! Compiles the protocol with protox, so that no system `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 5] = [
    "colloquy/v1/common.proto",
    "colloquy/v1/errors.proto",
    "colloquy/v1/conversation.proto",
    "colloquy/v1/flow.proto",
    "colloquy/v1/operator.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("colloquy.bin"), descriptors.encode_to_vec())?;
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    tonic_prost_build::configure().codec_path("crate::codec::ShortCodec").compile_fds(descriptors)?;
    Ok(())
}
