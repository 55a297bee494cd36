//! Compiles `v1/fleet.proto` without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=v1/fleet.proto");
    let descriptors = protox::compile(["v1/fleet.proto"], ["."])?;
    tonic_prost_build::configure().codec_path("crate::codec::Bounded").compile_fds(descriptors)?;
    Ok(())
}
