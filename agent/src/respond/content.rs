//! Bodies of answers: a text, or so many bytes that are made while they are sent.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One piece of a made body: small enough that a slow reader holds little.
static PIECE: [u8; 16 << 10] = [b'x'; 16 << 10];

/// A body.
#[derive(Debug)]
pub(super) enum Content {
    /// A text; taken when it is sent.
    Text(Option<Bytes>),
    /// So many bytes are still to come.
    Made(u64),
}

impl Content {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self::Text(Some(text.into()))
    }

    fn remaining(&self) -> u64 {
        match self {
            Self::Text(text) => {
                text.as_ref().map_or(0, |text| text.len().try_into().unwrap_or(u64::MAX))
            }
            Self::Made(length) => *length,
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut *self {
            Self::Text(text) => text.take(),
            Self::Made(0) => None,
            Self::Made(length) => {
                let size =
                    usize::try_from(*length).map_or(PIECE.len(), |length| length.min(PIECE.len()));
                *length -= u64::try_from(size).unwrap_or(*length);
                Some(Bytes::from_static(&PIECE[..size]))
            }
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}
