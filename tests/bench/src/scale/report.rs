//! Figures with what they should be: a table for people, `scale.json` for machines.

use std::{fmt::Write, fs, io, path::Path};

use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub cell: String,
    pub metric: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// At most this; `None`: it is only told.
    pub target: Option<f64>,
    pub met: Option<bool>,
}

/// All figures of a run.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Report(Vec<Figure>);

impl Report {
    pub fn tell(
        &mut self,
        cell: &str,
        metric: &'static str,
        value: f64,
        unit: &'static str,
        target: Option<f64>,
    ) {
        let met = target.map(|target| value <= target);
        self.0.push(Figure { cell: cell.to_owned(), metric, value, unit, target, met });
    }

    /// The value of a figure.
    pub fn value(&self, cell: &str, metric: &str) -> Option<f64> {
        self.0.iter().find(|figure| figure.cell == cell && figure.metric == metric).map(|figure| figure.value)
    }

    /// # Errors
    /// The file can't be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }

    /// In Markdown.
    pub fn table(&self) -> String {
        let mut text = String::from("| cell | metric | value | target | met |\n|---|---|---:|---:|---|\n");
        for figure in &self.0 {
            let Figure { cell, metric, value, unit, .. } = figure;
            let target = figure.target.map_or(String::new(), |target| format!("<= {target}"));
            let met = match figure.met {
                None => "",
                Some(true) => "yes",
                Some(false) => "NO",
            };
            // Writing to a string can't fail.
            let _ = writeln!(text, "| {cell} | {metric} | {value:.3} {unit} | {target} | {met} |");
        }
        text
    }
}

/// The value below which a share of all lies.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    // An index.
    let index = (share * (sorted.len().saturating_sub(1)) as f64).ceil() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{Report, quantile};

    #[test]
    fn quantiles() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(
            (quantile(&values, 0.5), quantile(&values, 0.99), quantile(&values, 1.0)),
            (50.0, 99.0, 100.0)
        );
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_figure_is_met_up_to_its_target() {
        let mut report = Report::default();
        report.tell("a", "time", 5.0, "ms", Some(5.0));
        report.tell("b", "time", 5.1, "ms", Some(5.0));
        let table = report.table();
        assert!(table.contains("| a | time | 5.000 ms | <= 5 | yes |"), "{table}");
        assert!(table.contains("| b | time | 5.100 ms | <= 5 | NO |"), "{table}");
        assert_eq!(report.value("b", "time"), Some(5.1));
    }
}
