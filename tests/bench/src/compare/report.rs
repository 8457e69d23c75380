//! What a run says: one row for each metric of a cell against each other gateway.

use std::fmt::Write;

use serde::Serialize;

use crate::stats::Estimate;

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub cell: &'static str,
    pub metric: &'static str,
    pub against: &'static str,
    /// Ours by theirs: median over rounds, and the bounds that hold it with 95 %.
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
    /// Of the two values below.
    pub unit: &'static str,
    pub ours: f64,
    pub theirs: f64,
    pub rounds: usize,
    /// The most that `high` may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

/// A whole run.
#[derive(Debug, Default)]
pub struct Report {
    pub rows: Vec<Row>,
    /// What is not measured, and why.
    pub missing: Vec<(String, String)>,
    pub voids: usize,
}

impl Row {
    /// `None` without a round that counts for both.
    pub fn new(
        cell: &'static str,
        metric: &'static str,
        against: &'static str,
        unit: &'static str,
        pairs: &[(f64, f64)],
        target: Option<f64>,
    ) -> Option<Self> {
        let (ours, theirs): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let ratio = Estimate::of_ratios(&ours, &theirs)?;
        Some(Row {
            cell,
            metric,
            against,
            ratio: ratio.median,
            low: ratio.low,
            high: ratio.high,
            unit,
            ours: Estimate::of(&ours)?.median,
            theirs: Estimate::of(&theirs)?.median,
            rounds: pairs.len(),
            target,
            met: target.map(|most| ratio.high <= most),
        })
    }
}

impl Report {
    pub fn add(&mut self, row: Option<Row>) {
        if let Some(row) = row {
            println!("{}", line(&row));
            self.rows.push(row);
        }
    }

    pub fn missing(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        println!("missing: {what}: {why}");
        self.missing.push((what, why));
    }

    /// In Markdown, for the README.
    pub fn table(&self) -> String {
        let mut table = "| cell | metric | against | ratio | 95 % | ours | theirs | target |\n|---|---|---|---|---|---|---|---|\n".to_owned();
        for row in &self.rows {
            writeln!(table, "{}", line(row)).expect("a string takes all");
        }
        for (what, why) in &self.missing {
            writeln!(table, "| {what} | missing: {why} | | | | | | |").expect("a string takes all");
        }
        table
    }
}

fn line(row: &Row) -> String {
    let target = match (row.target, row.met) {
        (Some(target), Some(true)) => format!("<= {target:.2}: met"),
        (Some(target), _) => format!("<= {target:.2}: missed"),
        _ => String::new(),
    };
    format!(
        "| {} | {} | {} | {:.3} | {:.3} - {:.3} | {:.1} {unit} | {:.1} {unit} | {target} |",
        row.cell,
        row.metric,
        row.against,
        row.ratio,
        row.low,
        row.high,
        row.ours,
        row.theirs,
        unit = row.unit,
    )
}
