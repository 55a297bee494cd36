//! As much of SDP (RFC 8866) and of offer and answer (RFC 3264) as a G.711 call needs that carries no media. Pure.
//!
//! The offer is a telephone's: `sendrecv`, PCMU or PCMA, with a port that is bound. An offer of `inactive`, or of a port
//! that nobody has, is refused or torn down by some session border controllers, and would measure that in place of a
//! call. Nothing is sent, and nothing that comes is read.

/// The type of a body that is SDP.
pub(crate) const CONTENT_TYPE: &str = "application/sdp";
/// Most media of an offer that are answered; a telephone has two.
const MEDIA_MAX: usize = 16;
/// Longest line that is read, in bytes: those that matter are short.
const LINE_MAX_BYTES: usize = 1_024;

/// Where media are expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaPlace {
    /// An IP address, without brackets.
    pub(crate) address: String,
    /// Of RTP.
    pub(crate) port: u16,
}

/// Audio as a description has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Audio {
    /// Where it is expected.
    pub(crate) place: MediaPlace,
    /// `PCMU` or `PCMA`.
    pub(crate) codec: &'static str,
}

/// The two codecs of G.711, with their static payload types (RFC 3551 §6).
const CODECS: [(&str, &str); 2] = [("0", "PCMU"), ("8", "PCMA")];

impl MediaPlace {
    fn family(&self) -> &'static str {
        if self.address.contains(':') { "IP6" } else { "IP4" }
    }

    /// Everything above the media. `session` tells this description from others.
    fn session(&self, session: u64) -> String {
        let (family, address) = (self.family(), &self.address);
        format!(
            "v=0\r\no=probefleet {session} 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n"
        )
    }

    /// The offer of a call (RFC 3264 §5).
    pub(crate) fn offer(&self, session: u64) -> String {
        let mut text = self.session(session);
        push(&mut text, format_args!("m=audio {} RTP/AVP 0 8\r\n", self.port));
        text.push_str(
            "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n",
        );
        text
    }

    /// The answer to an offer (RFC 3264 §6): the first audio in G.711 is taken, all else is refused in its place. `None`
    /// when there is nothing to take.
    pub(crate) fn answer(&self, offer: &[u8], session: u64) -> Option<String> {
        let mut text = self.session(session);
        let mut taken = false;
        for media in media(offer) {
            let Some(codec) = media.codec().filter(|_| !taken) else {
                push(
                    &mut text,
                    format_args!("m={} 0 {} {}\r\n", media.kind, media.protocol, media.formats),
                );
                continue;
            };
            taken = true;
            push(&mut text, format_args!("m=audio {} RTP/AVP {}\r\n", self.port, codec.0));
            push(
                &mut text,
                format_args!("a=rtpmap:{} {}/8000\r\na={}\r\n", codec.0, codec.1, media.mirrored()),
            );
        }
        taken.then_some(text)
    }
}

/// The audio that a description takes or offers, if any.
pub(crate) fn audio(description: &[u8]) -> Option<Audio> {
    let media = media(description).into_iter().find(|media| media.codec().is_some())?;
    let place = MediaPlace { address: media.address?.to_owned(), port: media.port };
    let codec = CODECS.iter().find(|(format, _)| media.formats.split(' ').next() == Some(format));
    codec.map(|(_, codec)| Audio { place, codec })
}

/// One `m=` line and what belongs to it.
struct Media<'a> {
    kind: &'a str,
    port: u16,
    protocol: &'a str,
    formats: &'a str,
    address: Option<&'a str>,
    direction: Option<&'a str>,
}

impl<'a> Media<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut words = value.splitn(4, ' ');
        let (kind, port) = (words.next()?, words.next()?.split('/').next()?.parse().ok()?);
        let (protocol, formats) = (words.next()?, words.next()?.trim());
        Some(Self { kind, port, protocol, formats, address: None, direction: None })
    }

    /// The codec of G.711 that it prefers, if it is audio that can be taken.
    fn codec(&self) -> Option<(&'static str, &'static str)> {
        if self.kind != "audio" || self.protocol != "RTP/AVP" || self.port == 0 {
            return None;
        }
        let known = |format| CODECS.iter().find(|(known, _)| *known == format).copied();
        self.formats.split(' ').find_map(known)
    }

    /// The direction as the other side has it (RFC 3264 §6.1).
    fn mirrored(&self) -> &'static str {
        match self.direction {
            Some("sendonly") => "recvonly",
            Some("recvonly") => "sendonly",
            Some("inactive") => "inactive",
            _ => "sendrecv",
        }
    }
}

/// The media of a description, each with the address and the direction that hold for it. What is above the first media
/// holds for all.
fn media(description: &[u8]) -> Vec<Media<'_>> {
    let mut all: Vec<Media<'_>> = Vec::new();
    let (mut address, mut direction) = (None, None);
    let text = description.split(|byte| *byte == b'\n').filter(|line| line.len() <= LINE_MAX_BYTES);
    for line in text.filter_map(|line| std::str::from_utf8(line.trim_ascii_end()).ok()) {
        let Some((kind, value)) = line.split_once('=') else { continue };
        if kind == "m" {
            if all.len() == MEDIA_MAX {
                break;
            }
            all.extend(Media::parse(value).map(|media| Media { address, direction, ..media }));
            continue;
        }
        match (kind, all.last_mut()) {
            ("c", media) => {
                let value = value.split(' ').nth(2);
                *media.map_or(&mut address, |media| &mut media.address) = value;
            }
            ("a", media) if matches!(value, "sendrecv" | "sendonly" | "recvonly" | "inactive") => {
                *media.map_or(&mut direction, |media| &mut media.direction) = Some(value);
            }
            _ => {}
        }
    }
    all
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.push_str(&std::fmt::format(arguments));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(address: &str, port: u16) -> MediaPlace {
        MediaPlace { address: address.to_owned(), port }
    }

    #[test]
    fn an_offer_of_ours_is_answered() {
        let offer = place("192.0.2.1", 4_000).offer(7);
        assert_eq!(
            offer,
            "v=0\r\no=probefleet 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        let offered = Audio { place: place("192.0.2.1", 4_000), codec: "PCMU" };
        assert_eq!(audio(offer.as_bytes()), Some(offered));
        let answer = place("2001:db8::1", 6_000).answer(offer.as_bytes(), 8).expect("G.711");
        assert!(answer.contains("c=IN IP6 2001:db8::1\r\n"), "{answer}");
        let taken = Audio { place: place("2001:db8::1", 6_000), codec: "PCMU" };
        assert_eq!(audio(answer.as_bytes()), Some(taken));
    }

    #[test]
    fn each_medium_is_answered_in_its_place() {
        let offer = b"v=0\nc=IN IP4 10.0.0.1\na=sendonly\nm=video 5000 RTP/AVP 31\nm=audio 5002 RTP/AVP 96 8\nc=IN IP4 10.0.0.2\nm=audio 5004 RTP/AVP 0\n";
        let answer = place("10.0.0.9", 7_000).answer(offer, 1).expect("PCMA");
        let lines: Vec<&str> = answer.lines().skip(5).collect();
        assert_eq!(
            lines,
            [
                "m=video 0 RTP/AVP 31",
                "m=audio 7000 RTP/AVP 8",
                "a=rtpmap:8 PCMA/8000",
                "a=recvonly",
                "m=audio 0 RTP/AVP 0"
            ]
        );
        for nothing in [
            "",
            "v=0\nm=audio 0 RTP/AVP 0\n",
            "m=audio 1 RTP/SAVP 0\n",
            "m=audio 1 RTP/AVP 9\n",
            "m=\n",
            "m=audio x\n",
        ] {
            assert_eq!(place("10.0.0.9", 7_000).answer(nothing.as_bytes(), 1), None, "{nothing}");
        }
    }
}
