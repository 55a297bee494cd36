//! What pages are dressed with, compiled in. A stylesheet's path holds its hash, so that it may be cached for ever.

use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

pub(super) const STYLE: &str = include_str!("../../assets/style.css");
pub(super) const ICON: &str = include_str!("../../assets/icon.svg");

static STYLE_PATH: LazyLock<String> = LazyLock::new(|| {
    let digest: [u8; 32] = Sha256::digest(STYLE).into();
    let hash: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("/assets/style-{hash}.css")
});

pub(super) fn style_path() -> String {
    STYLE_PATH.clone()
}
