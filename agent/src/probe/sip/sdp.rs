//! As much of SDP (RFC 8866) and of offer and answer (RFC 3264) as a call in G.711 needs. Pure.
//!
//! The offer is a telephone's: `sendrecv`, PCMU or PCMA, with a port that is bound. An offer of `inactive`, or of a port
//! that nobody has, is refused or torn down by some session border controllers, and would measure that in place of a
//! call. Data and control are not offered on one port (RFC 5761): not every gateway can.

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
    /// `PCMU` or `PCMA`: the first of them.
    pub(crate) codec: &'static str,
    /// Where its control is expected: the next port, unless it says otherwise (RFC 3605).
    pub(crate) control: MediaPlace,
    /// Who may speak, as the one sees it whose description this is.
    pub(crate) direction: Direction,
}

/// Who may speak (RFC 3264 §5.1, §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Direction {
    /// Both.
    #[default]
    SendRecv,
    /// The one alone whose description this is.
    SendOnly,
    /// The other alone.
    RecvOnly,
    /// Nobody.
    Inactive,
}

/// Why a description has no audio that can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAudio {
    /// It is about something else.
    #[error("there is no audio in it")]
    Missing,
    /// Port 0 (RFC 3264 §6).
    #[error("audio was refused")]
    Refused,
    /// Another codec, or another protocol.
    #[error("the audio is not G.711 over RTP/AVP")]
    Codec,
    /// No address stands there, or none that can be read.
    #[error("nobody says where audio is expected")]
    Place,
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
                format_args!(
                    "a=rtpmap:{} {}/8000\r\na={}\r\n",
                    codec.0,
                    codec.1,
                    media.direction().mirrored()
                ),
            );
        }
        taken.then_some(text)
    }
}

/// The audio that a description takes or offers, if any.
pub(crate) fn audio(description: &[u8]) -> Option<Audio> {
    taken(description).ok()
}

/// The audio that a description takes or offers; if there is none, why.
pub(crate) fn taken(description: &[u8]) -> Result<Audio, NoAudio> {
    let all = media(description);
    let Some((media, (_, codec))) = all.iter().find_map(|media| Some((media, media.codec()?)))
    else {
        let audio = all.iter().find(|media| media.kind == "audio").ok_or(NoAudio::Missing)?;
        return Err(if audio.port == 0 { NoAudio::Refused } else { NoAudio::Codec });
    };
    let address = media.address.ok_or(NoAudio::Place)?;
    let place = MediaPlace { address: address.to_owned(), port: media.port };
    let control = media.control(&place).ok_or(NoAudio::Place)?;
    Ok(Audio { place, codec, control, direction: media.direction() })
}

impl Direction {
    /// Of what an attribute says.
    fn named(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    /// The same, as the other side sees it (RFC 3264 §6.1).
    fn mirrored(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "recvonly",
            Self::RecvOnly => "sendonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the one whose description this is wants to hear anything.
    pub(crate) fn listens(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// Whether the one whose description this is may say anything.
    pub(crate) fn speaks(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
}

/// One `m=` line and what belongs to it.
struct Media<'a> {
    kind: &'a str,
    port: u16,
    protocol: &'a str,
    formats: &'a str,
    address: Option<&'a str>,
    direction: Option<Direction>,
    /// What `a=rtcp` says.
    control: Option<&'a str>,
}

impl<'a> Media<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut words = value.splitn(4, ' ');
        let (kind, port) = (words.next()?, words.next()?.split('/').next()?.parse().ok()?);
        let (protocol, formats) = (words.next()?, words.next()?.trim());
        let (address, direction, control) = (None, None, None);
        Some(Self { kind, port, protocol, formats, address, direction, control })
    }

    /// The codec of G.711 that it prefers, if it is audio that can be taken.
    fn codec(&self) -> Option<(&'static str, &'static str)> {
        if self.kind != "audio" || self.protocol != "RTP/AVP" || self.port == 0 {
            return None;
        }
        let known = |format| CODECS.iter().find(|(known, _)| *known == format).copied();
        self.formats.split(' ').find_map(known)
    }

    fn direction(&self) -> Direction {
        self.direction.unwrap_or_default()
    }

    /// Where control is expected beside data at `place`: `a=rtcp:53020` or `a=rtcp:53020 IN IP4 192.0.2.1`.
    fn control(&self, place: &MediaPlace) -> Option<MediaPlace> {
        let Some(value) = self.control else {
            return Some(MediaPlace { port: place.port.checked_add(1)?, ..place.clone() });
        };
        let mut words = value.split(' ');
        let port = words.next()?.parse().ok().filter(|port| *port > 0)?;
        let address = words.nth(2).unwrap_or(&place.address).to_owned();
        Some(MediaPlace { address, port })
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
                // `IN IP4 224.2.1.1/127`: what follows the slash is no address.
                let value = value.split(' ').nth(2).and_then(|value| value.split('/').next());
                *media.map_or(&mut address, |media| &mut media.address) = value;
            }
            ("a", media) => match (Direction::named(value), value.split_once(':'), media) {
                (Some(named), _, Some(media)) => media.direction = Some(named),
                (Some(named), _, None) => direction = Some(named),
                (None, Some(("rtcp", value)), Some(media)) => media.control = Some(value),
                _ => {}
            },
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
        let heard_at = |address, port| Audio {
            place: place(address, port),
            codec: "PCMU",
            control: place(address, port + 1),
            direction: Direction::SendRecv,
        };
        assert_eq!(audio(offer.as_bytes()), Some(heard_at("192.0.2.1", 4_000)));
        let answer = place("2001:db8::1", 6_000).answer(offer.as_bytes(), 8).expect("G.711");
        assert!(answer.contains("c=IN IP6 2001:db8::1\r\n"), "{answer}");
        assert_eq!(audio(answer.as_bytes()), Some(heard_at("2001:db8::1", 6_000)));
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

    #[test]
    fn an_answer_says_where_audio_is_expected() {
        let session = "v=0\r\nc=IN IP4 10.0.0.1/127\r\na=recvonly\r\n";
        for (media, codec, at, control, direction) in [
            ("m=audio 4000 RTP/AVP 8 0", "PCMA", "10.0.0.1 4000", "10.0.0.1 4001", "recvonly"),
            (
                "m=audio 4000 RTP/AVP 18 0 101\r\na=sendonly\r\nc=IN IP6 2001:db8::1",
                "PCMU",
                "2001:db8::1 4000",
                "2001:db8::1 4001",
                "sendonly",
            ),
            (
                "m=audio 4000/2 RTP/AVP 0\r\na=rtcp:5000\r\na=inactive",
                "PCMU",
                "10.0.0.1 4000",
                "10.0.0.1 5000",
                "inactive",
            ),
            (
                "m=video 3000 RTP/AVP 31\r\na=inactive\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:5000 IN IP4 10.0.0.2",
                "PCMU",
                "10.0.0.1 4000",
                "10.0.0.2 5000",
                "recvonly",
            ),
        ] {
            let audio = taken(format!("{session}{media}\r\n").as_bytes()).expect(media);
            let text = |place: &MediaPlace| format!("{} {}", place.address, place.port);
            assert_eq!((audio.codec, text(&audio.place).as_str()), (codec, at), "{media}");
            assert_eq!(text(&audio.control), control, "{media}");
            assert_eq!(Direction::named(direction), Some(audio.direction), "{media}");
        }
    }

    #[test]
    fn what_cannot_be_heard_is_told_apart() {
        for (description, why) in [
            ("", NoAudio::Missing),
            ("m=video 4000 RTP/AVP 0\n", NoAudio::Missing),
            ("c=IN IP4 10.0.0.1\nm=audio 0 RTP/AVP 0\n", NoAudio::Refused),
            ("c=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 9\n", NoAudio::Codec),
            ("c=IN IP4 10.0.0.1\nm=audio 4000 RTP/SAVP 0\n", NoAudio::Codec),
            ("m=audio 4000 RTP/AVP 0\n", NoAudio::Place),
            ("c=IN IP4 10.0.0.1\nm=audio 65535 RTP/AVP 0\n", NoAudio::Place),
            ("c=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0\na=rtcp:0\n", NoAudio::Place),
        ] {
            assert_eq!(taken(description.as_bytes()), Err(why), "{description}");
        }
        assert_eq!(
            [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
                .map(|direction| (direction.listens(), direction.speaks())),
            [(true, true), (false, true), (true, false), (false, false)]
        );
    }
}
