//! The table that is printed: one line for each case.

use std::time::Duration;

use crate::cases::{Case, Measure};

/// What was measured of one side: seconds, or MiB.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn one(value: f64) -> Self {
        Self(vec![value])
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn push_time(&mut self, time: Duration) {
        self.push(time.as_secs_f64());
    }

    /// The value that this share of the others are below.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share).round() as usize]
    }

    fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The median with its unit, and the quartiles where there are some.
    fn text(&self, measure: Measure) -> String {
        let (digits, unit) = measure.unit();
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| measure.shown(self.quantile(share)));
        let text = format!("{median:.digits$} {unit}");
        if self.0.len() == 1 {
            return text;
        }
        // More seconds are fewer bytes a second.
        let (low, high) = (low.min(high), low.max(high));
        format!("{text} ({low:.digits$}-{high:.digits$})")
    }
}

impl Measure {
    /// Digits after the point, and the unit of one side.
    fn unit(self) -> (usize, &'static str) {
        match self {
            Self::TimesTheTime | Self::TimesAsFast | Self::MillisecondsMore => (3, "ms"),
            Self::TimesTheRate { .. } => (0, "MB/s"),
            Self::Seconds => (3, "s"),
            Self::Mebibytes | Self::MebibytesMore => (1, "MiB"),
        }
    }

    /// What was measured, in that unit.
    fn shown(self, measured: f64) -> f64 {
        match self {
            Self::TimesTheTime | Self::TimesAsFast | Self::MillisecondsMore => measured * 1e3,
            Self::TimesTheRate { bytes } => bytes as f64 / 1e6 / measured,
            Self::Seconds | Self::Mebibytes | Self::MebibytesMore => measured,
        }
    }

    /// What the bounds are about.
    fn figure(self, ours: f64, other: f64) -> f64 {
        match self {
            Self::TimesTheTime => ours / other,
            Self::TimesAsFast | Self::TimesTheRate { .. } => other / ours,
            Self::MillisecondsMore => (ours - other) * 1e3,
            Self::MebibytesMore => ours - other,
            Self::Seconds | Self::Mebibytes => ours,
        }
    }

    /// A figure or a bound as it is printed.
    fn figure_text(self, figure: f64) -> String {
        match self {
            Self::TimesTheTime | Self::TimesAsFast | Self::TimesTheRate { .. } => format!("{figure:.2} x"),
            Self::MillisecondsMore => format!("{figure:+.3} ms"),
            Self::Seconds => format!("{figure:.3} s"),
            Self::Mebibytes => format!("{figure:.1} MiB"),
            Self::MebibytesMore => format!("{figure:+.1} MiB"),
        }
    }

    fn reaches(self, figure: f64, bound: f64) -> bool {
        match self {
            Self::TimesAsFast | Self::TimesTheRate { .. } => figure >= bound,
            _ => figure <= bound,
        }
    }
}

pub(crate) fn print_header() {
    print_line(["case", "ours", "the other", "figure", "must", "aim", "verdict"]);
}

fn print_line([case, ours, other, figure, must, aim, verdict]: [&str; 7]) {
    println!("{case:<20} {ours:>24} {other:>24} {figure:>11} {must:>11} {aim:>10}  {verdict}");
}

impl Case {
    /// Prints the line of a case with two sides.
    pub(crate) fn report(&self, ours: &Samples, other: &Samples) {
        self.print(ours, other.median(), &other.text(self.measure));
    }

    /// Prints the line of a case that is ours alone.
    pub(crate) fn report_alone(&self, ours: &Samples) {
        self.print(ours, f64::NAN, "");
    }

    fn print(&self, ours: &Samples, other: f64, other_text: &str) {
        let measure = self.measure;
        let figure = measure.figure(ours.median(), other);
        let bound = |bound: Option<f64>| bound.map(|bound| measure.figure_text(bound)).unwrap_or_default();
        print_line([
            self.name,
            &ours.text(measure),
            other_text,
            &measure.figure_text(figure),
            &bound(self.must),
            &bound(self.aim),
            self.verdict(figure),
        ]);
    }

    fn verdict(&self, figure: f64) -> &'static str {
        let reached = |bound: Option<f64>| bound.map(|bound| self.measure.reaches(figure, bound));
        match (reached(self.must), reached(self.aim)) {
            (None, None) => "",
            (Some(false), _) => "must MISSED",
            (_, Some(true)) => "aim met",
            (None, Some(false)) => "aim missed",
            (_, Some(false)) => "met, aim missed",
            (_, None) => "met",
        }
    }

    /// Says why a case was not run.
    pub(crate) fn not_run(&self, why: &str) {
        println!("{:<20} NOT RUN: {why}", self.name);
    }
}
