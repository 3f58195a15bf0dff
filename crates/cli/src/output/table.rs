//! Rows for people: columns without borders.

use super::text::safe;
use comfy_table::{Table, presets::NOTHING};

/// A table with a header line; every line ends with a newline. No cell can break out of its line.
pub(crate) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns);
    for row in rows {
        table.add_row(row.iter().map(|cell| safe(cell).into_owned()));
    }
    lines(&mut table)
}

/// Names and values, one pair a line. An empty value is left out.
pub(crate) fn pairs(pairs: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    for (name, value) in pairs {
        if !value.is_empty() {
            table.add_row([name.to_owned(), safe(&value).into_owned()]);
        }
    }
    lines(&mut table)
}

fn lines(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_stay_on_their_line() {
        let text = table(
            &["TASK", "PURPOSE"],
            [
                vec!["tk_1".to_owned(), "close\n\u{1b}[2Jbooks".to_owned()],
                vec!["tk_22222".to_owned(), String::new()],
            ],
        );
        assert_eq!(text, "TASK      PURPOSE\ntk_1      close\\n\\u{1b}[2Jbooks\ntk_22222\n");
        assert_eq!(table(&["TASK"], []), "TASK\n");
        assert_eq!(pairs([("task", "tk_1".to_owned()), ("end", String::new())]), "task  tk_1\n");
    }
}
