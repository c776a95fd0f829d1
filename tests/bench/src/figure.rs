//! One measured figure, and the table of all.

use std::fmt;

use serde::Serialize;

/// What was promised of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Budget {
    /// At most this, in the figure's unit.
    Value(f64),
    /// At most this many times the floor.
    Ratio(f64),
    /// Nothing: the figure is stated.
    None,
}

/// One measured figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What was measured, in a line.
    pub(crate) name: String,
    /// The unit of value and floor.
    pub(crate) unit: &'static str,
    /// What was measured; none if it could not be.
    pub(crate) value: Option<f64>,
    /// Why it could not.
    pub(crate) absent: Option<String>,
    /// The least that the same job costs here, measured in the same run.
    pub(crate) floor: Option<f64>,
    /// What was promised.
    pub(crate) budget: Budget,
    /// What else is to be told of it, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<String>,
}

impl Figure {
    /// A figure without floor and budget.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            value: Some(value),
            absent: None,
            floor: None,
            budget: Budget::None,
            details: Vec::new(),
        }
    }

    /// A figure that cannot be measured here, and why: what it needs is not on this machine.
    pub(crate) fn absent(name: impl Into<String>, unit: &'static str, why: String) -> Self {
        Self {
            value: None,
            absent: Some(why),
            ..Self::new(name, unit, 0.0)
        }
    }

    /// With its floor.
    pub(crate) fn floor(self, floor: f64) -> Self {
        Self {
            floor: Some(floor),
            ..self
        }
    }

    /// With what was promised.
    pub(crate) fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// With these lines.
    pub(crate) fn details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    fn ratio(&self) -> Option<f64> {
        let floor = self.floor.filter(|floor| *floor > 0.0)?;
        Some(self.value? / floor)
    }

    /// Is it within its budget? None without one, and for what was not measured.
    pub(crate) fn is_within(&self) -> Option<bool> {
        match self.budget {
            Budget::Value(most) => self.value.map(|value| value <= most),
            Budget::Ratio(most) => self.ratio().map(|ratio| ratio <= most),
            Budget::None => None,
        }
    }
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Table(Vec<Figure>);

impl Extend<Figure> for Table {
    fn extend<T: IntoIterator<Item = Figure>>(&mut self, figures: T) {
        self.0.extend(figures);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<64} {:>10} {:>10} {:>7} {:>12}",
            "figure", "measured", "floor", "ratio", "budget"
        )?;
        for figure in &self.0 {
            let name = format!("{}, {}", figure.name, figure.unit);
            let or_dash = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), short);
            let budget = match figure.budget {
                Budget::Value(most) => short(most),
                Budget::Ratio(most) => format!("{}x floor", short(most)),
                Budget::None => "-".to_owned(),
            };
            let verdict = match figure.is_within() {
                Some(true) => "ok",
                Some(false) => "OVER",
                None => "",
            };
            if let Some(why) = &figure.absent {
                writeln!(f, "{name:<64} absent: {why}")?;
                continue;
            }
            let row = format!(
                "{name:<64} {:>10} {:>10} {:>7} {budget:>12}  {verdict}",
                or_dash(figure.value),
                or_dash(figure.floor),
                or_dash(figure.ratio()),
            );
            writeln!(f, "{}", row.trim_end())?;
            for line in &figure.details {
                writeln!(f, "    {line}")?;
            }
        }
        let over = self
            .0
            .iter()
            .filter(|figure| figure.is_within() == Some(false))
            .count();
        let absent = self.0.iter().filter(|figure| figure.absent.is_some());
        match absent.count() {
            0 => {}
            absent => write!(f, "{absent} absent. ")?,
        }
        match over {
            0 => write!(f, "Everything measured is within its budget."),
            _ => write!(
                f,
                "{over} over budget. Timings are no tests: measure again on a quiet machine before believing it."
            ),
        }
    }
}

/// Three digits that count.
fn short(number: f64) -> String {
    let decimals = match number.abs() {
        small if small == 0.0 || small >= 100.0 => 0,
        small if small >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_budget_is_against_the_floor_and_a_value_budget_is_not() {
        let figure = Figure::new("stage", "ms", 6.0).floor(2.0);
        assert_eq!(
            figure.clone().budget(Budget::Ratio(3.0)).is_within(),
            Some(true)
        );
        assert_eq!(
            figure.clone().budget(Budget::Ratio(2.9)).is_within(),
            Some(false)
        );
        assert_eq!(
            figure.clone().budget(Budget::Value(5.0)).is_within(),
            Some(false)
        );
        assert_eq!(figure.is_within(), None);
    }

    #[test]
    fn what_was_not_measured_says_why_and_is_neither_within_its_budget_nor_over() {
        let figure = Figure::absent("stage on etcd", "ms", "there is no etcd".to_owned())
            .budget(Budget::Value(0.0));
        assert_eq!(figure.is_within(), None);
        let mut table = Table::default();
        table.extend([figure]);
        let text = table.to_string();
        assert!(text.contains("absent: there is no etcd"), "{text}");
        assert!(text.contains("1 absent. "), "{text}");
        assert!(!text.contains("OVER"), "{text}");
    }

    #[test]
    fn the_lines_of_a_figure_stand_below_it() {
        let mut table = Table::default();
        let figure = Figure::new("host loss", "s", 2.5).details(vec!["min 2.4".to_owned()]);
        table.extend([figure, Figure::new("stage", "ms", 6.0)]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("host loss, s"), "{text}");
        assert_eq!(lines[2], "    min 2.4");
        assert!(lines[3].starts_with("stage, ms"), "{text}");
    }

    #[test]
    fn the_table_says_how_many_figures_are_over() {
        let mut table = Table::default();
        table.extend([Figure::new("stage", "ms", 6.0).budget(Budget::Value(5.0))]);
        let text = table.to_string();
        assert!(
            text.contains("OVER") && text.contains("1 over budget"),
            "{text}"
        );
    }
}
