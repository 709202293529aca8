//! Reads Rust as far as the checks need it: without comments, strings and test code, and into words.

/// Replaces comments, and the contents of string and character literals, by blanks. Lines stay where they are.
pub fn bare(text: &str) -> String {
    scan(text, |_| ())
}

/// The contents of all string literals, unescaped only as far as names go.
pub fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    scan(text, |literal| found.push(literal.to_owned()));
    found
}

/// One pass over Rust's tokens, as far as they hide other text.
fn scan(text: &str, mut literal: impl FnMut(&str)) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(first) = rest.chars().next() {
        let in_word = previous.is_alphanumeric() || previous == '_';
        let hidden = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some((start, end, len)) = (!in_word).then(|| raw_string(rest)).flatten() {
            literal(rest.get(start..end).unwrap_or_default());
            len
        } else if first == '"' {
            let len = quoted(rest);
            literal(rest.get(1..len.saturating_sub(1)).unwrap_or_default());
            len
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        let len = if hidden == 0 { first.len_utf8() } else { hidden };
        let (taken, after) = rest.split_at(len);
        if hidden == 0 {
            bare.push(first);
        } else {
            bare.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        previous = if hidden == 0 { first } else { ' ' };
        rest = after;
    }
    bare
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#` and their byte and C forms: start and end of the contents, and the length of all.
fn raw_string(text: &str) -> Option<(usize, usize, usize)> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| text.starts_with(prefix))?;
    let after = text.get(prefix.len()..)?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after.get(hashes..)?.strip_prefix('"')?;
    let start = prefix.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = start + text.get(start..)?.find(&close)?;
    Some((start, end, end + close.len()))
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars.find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// Without what is compiled for tests only: inline modules under `#[cfg(test)]`. Expects [`bare`] text.
pub fn without_tests(bare: &str) -> String {
    let mut kept = String::with_capacity(bare.len());
    let mut rest = bare;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let len = test_module(from).unwrap_or("#[cfg(test)]".len());
        let (taken, after) = from.split_at(len);
        kept.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Length of `#[cfg(test)] mod name { … }`, if it is one.
fn test_module(text: &str) -> Option<usize> {
    let open = text.find('{')?;
    let head = text.get("#[cfg(test)]".len()..open)?;
    let words: Vec<&str> = head.split_whitespace().collect();
    if !matches!(words.as_slice(), ["mod", _] | ["pub(crate)", "mod", _]) {
        return None;
    }
    let mut depth = 0usize;
    for (at, c) in text.char_indices().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// A word or a sign, and its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// An identifier, `::`, or a single other character.
    pub text: &'a str,
    /// 1-based.
    pub line: usize,
}

/// Splits [`bare`] text.
pub fn tokens(bare: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = bare;
    while let Some(first) = rest.chars().next() {
        let word = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let len = if word > 0 {
            word
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (text, after) = rest.split_at(len);
        if first == '\n' {
            line += 1;
        }
        if !first.is_whitespace() {
            tokens.push(Token { text, line });
        }
        rest = after;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_code_is_blanked() {
        let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" 'i' '\\'' r#\"j \" k\"# br\"l\" 'm n\n";
        let kept: Vec<String> = tokens(&bare(text))
            .iter()
            .map(|token| token.text.to_owned())
            .collect();
        assert_eq!(kept, ["a", "e", "'", "m", "n"], "a lifetime is code");
        assert_eq!(bare(text).matches('\n').count(), 2);
        assert_eq!(literals(text), ["g \\\" h", "j \" k", "l"]);
        assert_eq!(bare("\"never closed"), " ".repeat(13));
        assert_eq!(
            literals("for\"x\"; bar\"y\""),
            ["x", "y"],
            "a word that ends in r is no prefix"
        );
    }

    #[test]
    fn test_modules_are_left_out_and_test_functions_are_not_mistaken_for_them() {
        let text = "use a;\n#[cfg(test)]\nmod tests {\n    fn x() { use b; }\n}\n#[cfg(test)]\nfn c() { d }\n\
                    #[cfg(test)]\nmod e;\n";
        let kept = without_tests(text);
        assert!(!kept.contains("use b"), "{kept}");
        for word in ["use a", "fn c() { d }", "mod e;"] {
            assert!(kept.contains(word), "{kept}");
        }
        assert_eq!(kept.lines().count(), text.lines().count());
    }

    #[test]
    fn paths_are_split_with_their_lines() {
        let tokens = tokens("crate::x\n{y}");
        let shown: Vec<(&str, usize)> = tokens.iter().map(|token| (token.text, token.line)).collect();
        assert_eq!(
            shown,
            [("crate", 1), ("::", 1), ("x", 1), ("{", 2), ("y", 2), ("}", 2)]
        );
    }
}
