//! Small things about text that several plugins need.

use std::time::Duration;

/// The longest beginning of `text` that has at most `bytes` bytes and ends between two characters.
///
/// ```
/// use pulse_plugin_sdk::text;
///
/// assert_eq!(text::head("häuser", 2), "h");
/// ```
#[must_use]
pub fn head(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// A quotation for a one-line summary: at most `bytes` bytes, control characters as spaces, an ellipsis where
/// something was cut off.
///
/// ```
/// use pulse_plugin_sdk::text;
///
/// assert_eq!(text::excerpt("no\nmemory", 6), "no mem…");
/// ```
#[must_use]
pub fn excerpt(text: &str, bytes: usize) -> String {
    let cut = head(text, bytes);
    let mut line: String = cut
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if cut.len() < text.len() {
        line.push('…');
    }
    line
}

/// The first line that is not blank, without the spaces around it.
///
/// ```
/// use pulse_plugin_sdk::text;
///
/// assert_eq!(text::first_line("\n out of memory\nat main"), "out of memory");
/// ```
#[must_use]
pub fn first_line(text: &str) -> &str {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
}

/// A duration for a summary: `3.2 ms`, `25 ms`.
///
/// ```
/// use pulse_plugin_sdk::text;
///
/// assert_eq!(text::milliseconds(std::time::Duration::from_micros(3_240)), "3.2 ms");
/// ```
#[must_use]
pub fn milliseconds(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1_000.0;
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, so that the text is one segment of a
/// path, one value of a query, or one word of a header field.
///
/// ```
/// use pulse_plugin_sdk::text;
///
/// assert_eq!(text::percent_encode("a b/c"), "a%20b%2Fc");
/// ```
#[must_use]
pub fn percent_encode(text: &str) -> String {
    encode(text, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
    })
}

/// Percent-encodes what can't stand in a header field's value, and the per cent sign itself.
///
/// ```
/// use pulse_plugin_sdk::text;
///
/// assert_eq!(text::header_value("shop/1 ü"), "shop/1%20%C3%BC");
/// ```
#[must_use]
pub fn header_value(text: &str) -> String {
    encode(text, |byte| byte.is_ascii_graphic() && byte != b'%')
}

/// Base64 with padding (RFC 4648, section 4).
///
/// ```
/// use pulse_plugin_sdk::text;
///
/// assert_eq!(text::base64(b"foob"), "Zm9vYg==");
/// ```
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place) & 63) as usize;
            let letter = ALPHABET.get(index).filter(|_| place <= chunk.len());
            encoded.push(char::from(letter.copied().unwrap_or(b'=')));
        }
    }
    encoded
}

fn encode(text: &str, plain: impl Fn(u8) -> bool) -> String {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or('0');
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_never_splits_a_character() {
        assert_eq!(head("häuser", 2), "h");
        assert_eq!(head("häuser", 3), "hä");
        assert_eq!(head("ä", 0), "");
        assert_eq!(head("ab", 9), "ab");
    }

    #[test]
    fn an_excerpt_is_one_line_and_says_that_it_is_cut() {
        assert_eq!(excerpt("a\r\nb\u{1b}[0m", 99), "a  b [0m");
        assert_eq!(excerpt("abcdef", 3), "abc…");
    }

    #[test]
    fn first_lines() {
        assert_eq!(first_line("\n  down since noon \nmore"), "down since noon");
        assert_eq!(first_line(" \n"), "");
    }

    #[test]
    fn the_test_vectors_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn durations() {
        assert_eq!(milliseconds(Duration::from_micros(3_240)), "3.2 ms");
        assert_eq!(milliseconds(Duration::from_secs(2)), "2000 ms");
    }

    #[test]
    fn encodings() {
        assert_eq!(percent_encode("a/b c?ü%"), "a%2Fb%20c%3F%C3%BC%25");
        assert_eq!(header_value("t/m/1 x\r\nü"), "t/m/1%20x%0D%0A%C3%BC");
    }
}
