//! Following redirects: what is asked next, of whom, and with which headers.

use super::spec::parse_url;
use crate::probe::failure::Failure;
use hyper::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, USER_AGENT,
};
use hyper::{Method, StatusCode};
use probefleet_proto::name::FailureClass;
use url::Url;

/// Headers that may go to another origin. All others may be secrets, whatever they are called.
const HARMLESS: [HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT];

/// What is asked in one hop.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) with_body: bool,
}

impl Hop {
    /// The hop that an answer points to; `None` when it points nowhere.
    pub(super) fn next(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, Failure> {
        let Some(location) = headers.get(LOCATION).filter(|_| redirects(status)) else {
            return Ok(None);
        };
        let location = location.to_str().map_err(|_| refused("the location is not text"))?;
        let joined = self.url.join(location).map_err(|error| refused(&error.to_string()))?;
        let url = parse_url(joined.as_str()).map_err(|why| refused(&why))?;
        let mut hop = Self { url, ..self.clone() };
        if becomes_get(status, &self.method) {
            hop.method = Method::GET;
            hop.with_body = false;
            hop.headers.remove(CONTENT_TYPE);
        }
        if hop.url.origin() != self.url.origin() {
            let all = std::mem::take(&mut hop.headers);
            let harmless =
                HARMLESS.iter().filter_map(|name| Some((name.clone(), all.get(name)?.clone())));
            hop.headers = harmless.collect();
        }
        Ok(Some(hop))
    }
}

fn redirects(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// What browsers do (RFC 9110 §15.4): 303 always asks with GET, 301 and 302 turn a POST into one.
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => *method != Method::HEAD,
        301 | 302 => *method == Method::POST,
        _ => false,
    }
}

fn refused(why: &str) -> Failure {
    Failure::failed(FailureClass::Protocol, "redirect", format!("redirect: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{AUTHORIZATION, HeaderValue};

    fn hop(url: &str, method: Method) -> Hop {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        headers.insert("x-token", HeaderValue::from_static("y"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/html"));
        Hop { url: url.parse().expect(url), method, headers, with_body: true }
    }

    fn next(from: &Hop, status: u16, location: &str) -> Result<Option<Hop>, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_str(location).expect(location));
        from.next(StatusCode::from_u16(status).expect("a status"), &headers)
    }

    #[test]
    fn secrets_stay_with_their_origin() {
        let from = hop("https://a.example/x/y", Method::GET);
        let same = next(&from, 302, "../z?q#f").expect("followed").expect("a hop");
        assert_eq!(same.url.as_str(), "https://a.example/z?q");
        assert_eq!(same.headers.len(), 3);
        for elsewhere in
            ["https://b.example/", "http://a.example/", "https://a.example:444/", "//b.example/"]
        {
            let other = next(&from, 302, elsewhere).expect("followed").expect("a hop");
            assert_eq!(other.headers.keys().collect::<Vec<_>>(), [ACCEPT], "{elsewhere}");
            let back = next(&other, 302, "https://a.example/").expect("followed").expect("a hop");
            assert_eq!(back.headers.len(), 1, "not given back");
        }
    }

    #[test]
    fn methods_change_as_in_browsers() {
        for (status, method, expected, with_body) in [
            (301, Method::POST, Method::GET, false),
            (302, Method::PUT, Method::PUT, true),
            (303, Method::PUT, Method::GET, false),
            (303, Method::HEAD, Method::HEAD, true),
            (307, Method::POST, Method::POST, true),
            (308, Method::POST, Method::POST, true),
        ] {
            let from = hop("http://a.example/", method.clone());
            let to = next(&from, status, "/b").expect("followed").expect("a hop");
            assert_eq!((to.method, to.with_body), (expected, with_body), "{status} {method}");
        }
        let from = hop("http://a.example/", Method::GET);
        assert!(next(&from, 304, "/b").expect("no redirect").is_none());
        assert!(from.next(StatusCode::FOUND, &HeaderMap::new()).expect("no location").is_none());
    }

    #[test]
    fn strange_locations_are_refused() {
        let from = hop("http://a.example/", Method::GET);
        for location in [
            "file:///etc/passwd",
            "http://u:p@b.example/",
            "http://",
            "http://[::1",
            "gopher://x/",
            "http://b:0/",
        ] {
            let failure = next(&from, 302, location).expect_err(location);
            assert_eq!(failure.code.as_deref(), Some("redirect"), "{location}");
        }
    }
}
