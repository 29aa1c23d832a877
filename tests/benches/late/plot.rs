//! Two axes of powers of ten, lines, and a file that needs nothing else.

use std::fmt::Write as _;

/// A diagram.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) across: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// Milliseconds against a count.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(i64, f64)>,
}

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 55.0;
const COLOURS: [&str; 2] = ["#0969da", "#cf222e"];

/// The panels side by side.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let width = WIDTH * f64::from(u32::try_from(panels.len()).unwrap_or(1));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {width} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (place, panel) in (0_u32..).zip(panels) {
        let left = WIDTH * f64::from(place);
        writeln!(text, "<g transform=\"translate({left} 0)\">").expect("text");
        panel.draw(&mut text);
        text += "</g>\n";
    }
    text + "</svg>\n"
}

/// An axis from one power of ten to another.
struct Axis {
    first: i32,
    last: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        let power = |value: f64| -> i32 { format!("{value:.0}").parse().unwrap_or(0) };
        let first = power(least.log10().floor());
        Self {
            first,
            last: power(most.log10().ceil()).max(first + 1),
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let whole = f64::from(self.last - self.first);
        let part = (value.log10() - f64::from(self.first)) / whole;
        self.from + part * (self.to - self.from)
    }

    fn marks(&self) -> impl Iterator<Item = (f64, String)> + '_ {
        (self.first..=self.last).map(|power| {
            let value = 10_f64.powi(power);
            (self.at(value), format!("{value}"))
        })
    }
}

impl Panel {
    fn draw(&self, text: &mut String) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let whole = |at: i64| f64::from(u32::try_from(at).unwrap_or(u32::MAX));
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let x = Axis::new(points().map(|(at, _)| whole(*at)), LEFT, right);
        let y = Axis::new(points().map(|(_, ms)| *ms), bottom, TOP);
        let middle = (LEFT + right) / 2.0;
        writeln!(
            text,
            "<text x=\"{middle}\" y=\"22\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>",
            self.title
        )
        .expect("text");
        for (at, name) in x.marks() {
            writeln!(
                text,
                "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#d0d7de\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                bottom + 18.0
            )
            .expect("text");
        }
        for (at, name) in y.marks() {
            writeln!(
                text,
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#d0d7de\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 6.0,
                at + 4.0
            )
            .expect("text");
        }
        writeln!(
            text,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">milliseconds</text>",
            HEIGHT - 15.0,
            self.across,
            f64::midpoint(TOP, bottom)
        )
        .expect("text");
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            line.draw(text, colour, |(at, ms)| (x.at(whole(at)), y.at(ms)));
        }
    }
}

impl Line {
    fn draw(&self, text: &mut String, colour: &str, place: impl Fn((i64, f64)) -> (f64, f64)) {
        let places: Vec<(f64, f64)> = self.points.iter().map(|point| place(*point)).collect();
        let path: Vec<String> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        )
        .expect("text");
        for (x, y) in &places {
            writeln!(
                text,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
            )
            .expect("text");
        }
        if let Some((x, y)) = places.first() {
            writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
                x + 8.0,
                y - 8.0,
                self.name
            )
            .expect("text");
        }
    }
}
