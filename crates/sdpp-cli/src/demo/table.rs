//! The table at the end.

/// Rows of two columns, under a heading.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    pub(super) fn row(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.rows.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn print(&self) {
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        crate::say("");
        for (name, value) in &self.rows {
            crate::say(&format!("  {name:<width$}  {value}"));
        }
    }
}
