//! Responses: what they repeat of the request (RFC 3261 §8.2.6.2, RFC 3581 §4).

use super::{Builder, Message, Via};
use crate::probe::sip::uri::Hop;

/// Begins the response to a request that came from `source`. `to_tag` names this side of the dialog; it is added where
/// the request has none. `None` when the request lacks what every response must repeat.
pub(crate) fn reply(
    request: &Message<'_>,
    (status, reason): (u16, &str),
    source: &Hop,
    to_tag: Option<&str>,
) -> Option<Builder> {
    let mut hops = request.values("Via");
    let top = stamped(hops.next()?, source)?;
    let mut to = request.first("To")?.to_vec();
    if let Some(tag) = to_tag.filter(|_| request.tag("To").is_none()) {
        to.extend_from_slice(b";tag=");
        to.extend_from_slice(tag.as_bytes());
    }
    let builder = Builder::response(status, reason).header("Via", top).headers("Via", hops);
    Some(
        builder
            .header("From", request.first("From")?)
            .header("To", to)
            .header("Call-ID", request.first("Call-ID")?)
            .header("CSeq", request.first("CSeq")?),
    )
}

/// The sender's own `Via`, with the address and port that it was seen at (RFC 3261 §18.2.1, RFC 3581 §4). A port that
/// was not asked for is not told.
fn stamped(value: &[u8], source: &Hop) -> Option<Vec<u8>> {
    let via = Via::parse(value)?;
    let mut text = Vec::with_capacity(value.len() + "received=;rport=".len() + 50);
    let kept = value.len() - via.parameters.len();
    text.extend_from_slice(value[..kept].trim_ascii_end());
    let mut asked = false;
    for piece in via.parameters.split(|byte| *byte == b';').skip(1) {
        let name = piece.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        asked |= name.eq_ignore_ascii_case(b"rport");
        // Whatever a sender says of its own address is replaced by what is seen.
        if !name.eq_ignore_ascii_case(b"rport") && !name.eq_ignore_ascii_case(b"received") {
            text.push(b';');
            text.extend_from_slice(piece.trim_ascii());
        }
    }
    if asked {
        text.extend_from_slice(format!(";rport={}", source.port).as_bytes());
    }
    text.extend_from_slice(format!(";received={}", source.host).as_bytes());
    Some(text)
}
