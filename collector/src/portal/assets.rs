//! What pages are dressed with, compiled in. The paths of stylesheet and script hold their hashes, so that they may be
//! cached for ever.

use probefleet_proto::hex::hex;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

pub(super) const STYLE: &str = include_str!("../../assets/style.css");
pub(super) const SCRIPT: &str = include_str!("../../assets/refresh.js");
pub(super) const ICON: &str = include_str!("../../assets/icon.svg");

static STYLE_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/assets/style-{}.css", hash(STYLE)));
static SCRIPT_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/assets/refresh-{}.js", hash(SCRIPT)));

fn hash(content: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(content).into();
    hex(&digest[..6])
}

pub(super) fn style_path() -> String {
    STYLE_PATH.clone()
}

pub(super) fn script_path() -> String {
    SCRIPT_PATH.clone()
}
