//! Lays out rows and writes amounts so that people can compare them.

use super::measured::float;

/// How tables look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Aligned columns.
    Plain,
    /// Aligned columns with the bars of Markdown.
    Markdown,
}

/// The first row is the header; the first column is aligned left, the others right.
pub(crate) fn table(rows: &[Vec<String>], style: Style) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell: &String| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths, style)).collect();
    if style == Style::Markdown && !lines.is_empty() {
        let rule = widths.iter().enumerate().map(|(column, width)| match column {
            0 => "-".repeat(*width),
            _ => format!("{}:", "-".repeat(width.saturating_sub(1))),
        });
        lines.insert(1, line(&rule.collect::<Vec<_>>(), &widths, style));
    }
    lines.join("\n")
}

fn line(row: &[String], widths: &[usize], style: Style) -> String {
    let cells = row
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
    let cells: Vec<_> = cells.collect();
    match style {
        Style::Plain => cells.join("  ").trim_end().to_owned(),
        Style::Markdown => format!("| {} |", cells.join(" | ")),
    }
}

/// Three digits that matter, thousands apart.
pub(crate) fn amount(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        middling if middling >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let groups: Vec<_> = whole
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    let whole = groups.join(",");
    if fraction.is_empty() {
        whole
    } else {
        format!("{whole}.{fraction}")
    }
}

/// `64 KiB`, from bytes.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        mib if mib >= 1024 * 1024 => format!("{} MiB", mib / 1024 / 1024),
        kib => format!("{} KiB", kib / 1024),
    }
}

/// `10 k`, `1 M`, from a count.
pub(crate) fn count(objects: u64) -> String {
    match objects {
        millions if millions >= 1_000_000 => {
            format!("{} M", amount(float(millions) / 1e6).trim_end_matches(".00"))
        }
        thousands if thousands >= 1000 => format!("{} k", thousands / 1000),
        few => few.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_three_digits_and_part_thousands() {
        let shown = [0.0421, 5.678, 56.78, 567.8, 1234567.8].map(amount);
        assert_eq!(shown, ["0.042", "5.68", "56.8", "568", "1,234,568"]);
    }

    #[test]
    fn a_markdown_table_has_a_rule_below_its_header() {
        let rows = [
            vec!["a".to_owned(), "µs".to_owned()],
            vec!["long".to_owned(), "1".to_owned()],
        ];
        assert_eq!(
            table(&rows, Style::Markdown),
            "| a    | µs |\n| ---- | -: |\n| long |  1 |"
        );
        assert_eq!(table(&rows, Style::Plain), "a     µs\nlong   1");
    }
}
