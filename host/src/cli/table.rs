//! Tables for people.

/// Columns as wide as what stands in them.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let rows = [["A", "B", "C"], ["long", "ä", ""], ["x", "yy", "z"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "A     B   C\nlong  ä\nx     yy  z\n");
        assert_eq!(table::<2>(&[]), "");
    }
}
