//! Compiles `proto/` with protox, so that no system `protoc` is needed.

use prost::Message as _;
use std::{env, error::Error, fs, path::Path};

const FILES: [&str; 11] = [
    "agent",
    "approval",
    "audit",
    "common",
    "credential",
    "kill",
    "lease",
    "policy",
    "revocation",
    "task",
    "tool",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let files = FILES.map(|name| format!("taskpass/v1/{name}.proto"));
    let descriptors = protox::compile(files, [&root])?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("taskpass.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().build_transport(false).bytes(".").compile_fds(descriptors)?;
    Ok(())
}
