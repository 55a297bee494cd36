//! Text that others wrote, before it is logged, kept or shown: cut, on one line, and of what can be seen.

/// Longest text of an agent that is kept, such as its version or the error of a plan, in bytes.
pub const TEXT_MAX_BYTES: usize = 2_048;

/// Text of an agent, as far as it is kept.
#[must_use]
pub fn bounded(text: &str) -> String {
    cut(text, TEXT_MAX_BYTES)
}

/// The first bytes of a text, so many at most; a space stands for what cannot be seen.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    text[..end].chars().map(|c| if is_seen(c) { c } else { ' ' }).collect()
}

/// Whether a character is what it looks like: no control of a terminal, no line break, nothing without width or that turns the
/// direction of writing, so that a line says to a reader what it says to a program.
#[must_use]
pub fn is_seen(c: char) -> bool {
    let is_format = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    !c.is_control() && !is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_stays_on_its_line() {
        assert_eq!(bounded("1.2.3 – ok"), "1.2.3 – ok");
        assert_eq!(cut("äöü", 3), "ä");
        assert_eq!(cut("ab", 0), "");
        assert_eq!(bounded(&"x".repeat(1 << 18)).len(), TEXT_MAX_BYTES);
        assert_eq!(bounded("a\nINFO all is well\r\t\u{1b}[31m"), "a INFO all is well   [31m");
        assert_eq!(bounded("a\u{202e}b\u{2028}c\u{9b}d\u{feff}"), "a b c d ");
    }
}
