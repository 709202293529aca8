//! Container names and the patterns that grant them.

/// Longest name.
const NAME_BYTES_MAX: usize = 255;

/// Whether the engine would take it as a name: it then also needs no escaping in a path.
pub(super) fn is_well_formed(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= NAME_BYTES_MAX
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Whether it could also be the beginning of a container's id.
pub(super) fn may_be_an_id(name: &str) -> bool {
    name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a pattern, in which `*` stands for any run of characters, covers a name. Linear in the product of the
/// lengths at worst: it goes back to the last `*` only.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(byte) if name.get(n) == Some(byte) => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    p = after;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        for name in ["web-1", "a", "0", "A.b_c-d"] {
            assert!(is_well_formed(name), "{name}");
        }
        for name in [
            "",
            "-a",
            ".a",
            "_a",
            "..",
            "a/b",
            "../a",
            "a b",
            "a?t=1",
            "a%2e",
            "ä",
            "a\0",
            &"a".repeat(256),
        ] {
            assert!(!is_well_formed(name), "{name}");
        }
        assert!(may_be_an_id("cafe01") && !may_be_an_id("web") && !may_be_an_id("CAFE"));
    }

    #[test]
    fn patterns() {
        for (pattern, name, covers) in [
            ("web-*", "web-1", true),
            ("web-*", "web-", true),
            ("web-*", "web", false),
            ("web-*", "xweb-1", false),
            ("*", "anything", true),
            ("web", "web", true),
            ("web", "web1", false),
            ("*-db", "a-db", true),
            ("*-db", "a-db-db", true),
            ("*-db", "a-dbx", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**", "a", true),
            ("", "a", false),
            ("W*", "web", false),
        ] {
            assert_eq!(matches(pattern, name), covers, "{pattern} {name}");
        }
    }

    /// The obvious definition.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|skip| by_definition(rest, &name[skip..])),
            ([p, pattern @ ..], [n, name @ ..]) => p == n && by_definition(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
