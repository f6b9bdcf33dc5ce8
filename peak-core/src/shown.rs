//! Text that came from outside, as it may stand in a message.

use std::fmt::{self, Display, Write};

/// The text with every character escaped that would break a line, command a terminal or turn the
/// order in which text is shown; all else as it is.
///
/// Values of records are an attacker's to choose. What goes to a log or a terminal is written
/// through this, and stays on its line; what is stored or compared stays as it came.
///
/// ```
/// use peak_core::shown;
///
/// assert_eq!(shown("São Paulo").to_string(), "São Paulo");
/// assert_eq!(shown("x\nERROR \x1b[2J").to_string(), r"x\nERROR \u{1b}[2J");
/// assert_eq!(shown("gpj.\u{202e}exe").to_string(), r"gpj.\u{202e}exe");
/// ```
#[must_use]
pub fn shown(text: &str) -> impl Display {
    Shown(text)
}

struct Shown<'a>(&'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, char)) = rest.char_indices().find(|&(_, char)| is_harmful(char)) {
            f.write_str(&rest[..at])?;
            char.escape_default().try_for_each(|char| f.write_char(char))?;
            rest = &rest[at + char.len_utf8()..];
        }
        f.write_str(rest)
    }
}

/// Control characters, the separators of lines and paragraphs, and Unicode's controls of direction.
fn is_harmful(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_terminals_and_directions_are_escaped() {
        for (raw, expected) in [
            ("", ""),
            ("plain \\ \"text\" 'ä' 日本", "plain \\ \"text\" 'ä' 日本"),
            ("\r\n\t\0", r"\r\n\t\u{0}"),
            ("\x7f\u{85}\u{9b}", r"\u{7f}\u{85}\u{9b}"),
            ("a\u{2028}b\u{2029}c", r"a\u{2028}b\u{2029}c"),
            ("\u{202a}\u{202e}\u{2066}\u{2069}", r"\u{202a}\u{202e}\u{2066}\u{2069}"),
            ("\u{200e}\u{200f}\u{61c}", r"\u{200e}\u{200f}\u{61c}"),
            // What joins emoji or letters stays.
            ("a\u{200d}b\u{200c}c", "a\u{200d}b\u{200c}c"),
        ] {
            assert_eq!(shown(raw).to_string(), expected, "{raw:?}");
        }
    }

    fn any_char() -> impl Strategy<Value = char> {
        let controls = prop::char::ranges([' '..='\u{9f}', '\u{200b}'..='\u{206f}'].as_slice().into());
        prop_oneof![any::<char>(), controls, prop::char::range('\0', '\x1f'), Just('\n')]
    }

    proptest! {
        #[test]
        fn what_is_shown_stands_on_one_line(text in prop::collection::vec(any_char(), 0..20)) {
            let text = String::from_iter(text);
            let seen = shown(&text).to_string();
            prop_assert!(!seen.chars().any(is_harmful));
            prop_assert_eq!(seen == text, !text.chars().any(is_harmful));
        }
    }
}
