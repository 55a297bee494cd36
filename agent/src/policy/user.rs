//! Whom calls may be made to: a number, a range of numbers, a name.
//!
//! One provider's server leads to every telephone of the world, the dear ones too. So it is not enough to say where calls
//! are sent: the policy can say whom they may reach, and a redirection cannot lead past it.

/// The part of a SIP URI before the `@`, or how it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPattern {
    text: String,
    /// More may follow.
    open: bool,
}

impl UserPattern {
    /// Reads `+493012345`, `echo`, or `+4930*`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (begin, open) = text.strip_suffix('*').map_or((text, false), |begin| (begin, true));
        let legal =
            |c: char| c.is_ascii_graphic() && !matches!(c, '*' | '@' | ':' | ';' | '<' | '>' | '"');
        if text.is_empty() || !begin.chars().all(legal) {
            return Err(
                "write the part of the URI before the @, such as echo or +493012345; a * at the end stands for any rest"
                    .to_owned(),
            );
        }
        Ok(Self { text: plain(begin), open })
    }

    /// Whether a user is among those. Separators that people write into numbers count for nothing (RFC 3966 §5.1.1), and
    /// neither do parameters behind a semicolon.
    #[must_use]
    pub fn has(&self, user: &str) -> bool {
        let user = plain(user.split(';').next().unwrap_or_default());
        if self.open { user.starts_with(&self.text) } else { user == self.text }
    }
}

/// A number without its separators; another name as it is, with what is escaped in it read.
fn plain(user: &str) -> String {
    let user = percent_encoding::percent_decode_str(user).decode_utf8_lossy().into_owned();
    let separator = |c: char| matches!(c, '-' | '.' | '(' | ')');
    let digit = |c: char| c.is_ascii_digit() || matches!(c, '+' | '#') || separator(c);
    if user.chars().all(digit) { user.chars().filter(|c| !separator(*c)).collect() } else { user }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_names() {
        for (pattern, user, has) in [
            ("echo", "echo", true),
            ("echo", "Echo", false),
            ("echo", "echo2", false),
            ("echo*", "echo2", true),
            ("*", "", true),
            ("+4930*", "+493012345", true),
            ("+4930*", "+49-30-12345", true),
            ("+4930*", "+49(30)12345;phone-context=x", true),
            ("+4930*", "%2B4930", true),
            ("+4930*", "+4940", false),
            ("+49-30*", "+4930", true),
            ("+493012345", "+493012345", true),
            ("+493012345", "+4930123456", false),
            ("+4930*", "+49%3930", false),
            ("alice.b", "alice.b", true),
            ("alice.b", "aliceb", false),
        ] {
            let parsed = UserPattern::parse(pattern).expect(pattern);
            assert_eq!(parsed.has(user), has, "{pattern} {user}");
        }
        for wrong in ["", "a*b", "a@b", "a b", "a:b", "**"] {
            assert!(UserPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
