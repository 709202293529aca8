//! The difference of two texts, line by line.

/// Lines of each side that are compared and shown. Of what comes behind them it is only said whether it differs.
const LINES_MAX: usize = 400;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// On both sides.
    Same(String),
    /// What should be there.
    Wanted(String),
    /// What is there.
    Got(String),
}

/// All lines.
pub type Diff = Vec<Line>;

/// From what is wanted to what is there, by the longest common subsequence.
#[must_use]
pub fn lines(wanted: &str, got: &str) -> Diff {
    let (wanted, wanted_rest) = split(wanted);
    let (got, got_rest) = split(got);
    // longest[i][j]: of the two from there on.
    let mut longest = vec![vec![0_usize; got.len() + 1]; wanted.len() + 1];
    let at = |table: &[Vec<usize>], i: usize, j: usize| {
        table.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0)
    };
    for (i, one) in wanted.iter().enumerate().rev() {
        for (j, two) in got.iter().enumerate().rev() {
            let length = if one == two {
                1 + at(&longest, i + 1, j + 1)
            } else {
                at(&longest, i + 1, j).max(at(&longest, i, j + 1))
            };
            if let Some(cell) = longest.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = length;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut diff = Vec::new();
    loop {
        match (wanted.get(i), got.get(j)) {
            (None, None) => {
                if wanted_rest != got_rest {
                    diff.push(Line::Wanted(more(&wanted_rest)));
                    diff.push(Line::Got(more(&got_rest)));
                }
                return diff;
            }
            (Some(one), Some(two)) if one == two => {
                diff.push(Line::Same((*one).to_owned()));
                i += 1;
                j += 1;
            }
            (Some(one), two) if two.is_none() || at(&longest, i + 1, j) >= at(&longest, i, j + 1) => {
                diff.push(Line::Wanted((*one).to_owned()));
                i += 1;
            }
            (_, Some(two)) => {
                diff.push(Line::Got((*two).to_owned()));
                j += 1;
            }
            (Some(_), None) => return diff,
        }
    }
}

/// The lines that are compared, and what comes behind them.
fn split(text: &str) -> (Vec<&str>, Vec<&str>) {
    let mut lines: Vec<&str> = text.lines().collect();
    let rest = lines.split_off(lines.len().min(LINES_MAX));
    (lines, rest)
}

fn more(rest: &[&str]) -> String {
    format!("({} more lines)", rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_lines_stay() {
        let shown: String = lines("a\nb\nc\nd\n", "a\nx\nc\n")
            .into_iter()
            .map(|line| match line {
                Line::Same(text) => format!(" {text}"),
                Line::Wanted(text) => format!("-{text}"),
                Line::Got(text) => format!("+{text}"),
            })
            .collect();
        assert_eq!(shown, " a-b+x c-d");
        assert!(lines("", "").is_empty());
        let long = "a\n".repeat(LINES_MAX);
        let differ = lines(&long, &(long.clone() + "b"));
        assert_eq!(differ.last(), Some(&Line::Got("(1 more lines)".to_owned())));
        assert_eq!(lines(&(long.clone() + "b"), &(long + "b")).len(), LINES_MAX);
    }
}
