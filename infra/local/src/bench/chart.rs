//! Plots as SVG, to stand within a page that has the colours.

use std::fmt::Write;

use super::number::short;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// About so many numbers along an axis.
const TICKS: f64 = 6.0;

/// A plot of lines, dots and bands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    /// Vertical lines, with what they mean.
    pub(crate) marks: Vec<(f64, String)>,
}

/// One of the two directions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) logarithmic: bool,
}

/// What is drawn in one colour.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// Which colour, from 0.
    pub(crate) colour: usize,
    pub(crate) shape: Shape,
}

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Line(Vec<(f64, f64)>),
    Dashes(Vec<(f64, f64)>),
    Dots(Vec<(f64, f64)>),
    /// From low to high.
    Band(Vec<(f64, f64, f64)>),
}

/// From values to places.
struct Scale {
    logarithmic: bool,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(values: &[f64], logarithmic: bool, (from, to): (f64, f64)) -> Self {
        let usable = values
            .iter()
            .copied()
            .filter(|value| value.is_finite() && (!logarithmic || *value > 0.0));
        let (mut low, mut high) = usable.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        if logarithmic {
            (low, high) = (low * 0.85, high * 1.18);
        } else {
            (low, high) = (low.min(0.0), high * 1.05);
        }
        if high <= low {
            high = low + 1.0;
        }
        Self {
            logarithmic,
            low,
            high,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            let value = value.max(self.low * 0.5);
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let share = share.clamp(-0.05, 1.05);
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            return self.powers();
        }
        let rough = (self.high - self.low) / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0];
        let step = steps
            .into_iter()
            .map(|step| step * power)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (self.low / step).ceil();
        let ticks = (0_u32..20).map(|n| (first + f64::from(n)) * step);
        ticks.take_while(|tick| *tick <= self.high).collect()
    }

    fn powers(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let within: &[f64] = if decades > 4.0 {
            &[1.0]
        } else if decades > 2.0 {
            &[1.0, 3.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let first = self.low.log10().floor();
        let powers = (0_u32..30).map(|n| 10_f64.powf(first + f64::from(n)));
        powers
            .flat_map(|power| within.iter().map(move |step| step * power))
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

impl Chart {
    /// The plot and its legend, as HTML.
    pub(crate) fn html(&self) -> String {
        let (xs, ys) = self.values();
        let x = Scale::new(&xs, self.x.logarithmic, (LEFT, WIDTH - RIGHT));
        let y = Scale::new(&ys, self.y.logarithmic, (HEIGHT - BOTTOM, TOP));
        let mut svg = String::new();
        self.frame(&mut svg, &x, &y);
        for series in &self.series {
            draw(&mut svg, series, &x, &y);
        }
        let title = escape(&self.title);
        let mut legend = String::new();
        for Series {
            name,
            colour,
            shape,
        } in &self.series
        {
            let key = match shape {
                Shape::Line(_) => "line",
                Shape::Dashes(_) => "dashes",
                Shape::Dots(_) => "dots",
                Shape::Band(_) => "band",
            };
            let name = escape(name);
            push(
                &mut legend,
                format_args!("<span class=\"key {key} c{}\">{name}</span>", colour % 6),
            );
        }
        format!(
            "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\" aria-label=\"{title}\">{svg}</svg><div class=\"legend\">{legend}</div></figure>\n"
        )
    }

    fn values(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for series in &self.series {
            match &series.shape {
                Shape::Line(points) | Shape::Dashes(points) | Shape::Dots(points) => {
                    xs.extend(points.iter().map(|(x, _)| *x));
                    ys.extend(points.iter().map(|(_, y)| *y));
                }
                // A band that is wide must not make all else small.
                Shape::Band(points) => xs.extend(points.iter().map(|(x, ..)| *x)),
            }
        }
        xs.extend(self.marks.iter().map(|(x, _)| *x));
        (xs, ys)
    }

    fn frame(&self, svg: &mut String, x: &Scale, y: &Scale) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in y.ticks() {
            let at = y.place(tick);
            let number = tick_text(tick);
            push(
                svg,
                format_args!(
                    "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{:.1}\" \
                     y=\"{:.1}\" class=\"end\">{number}</text>",
                    LEFT - 6.0,
                    at + 4.0
                ),
            );
        }
        for tick in x.ticks() {
            let at = x.place(tick);
            let number = tick_text(tick);
            push(
                svg,
                format_args!(
                    "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text x=\"{at:.1}\" \
                     y=\"{:.1}\" class=\"middle\">{number}</text>",
                    bottom + 16.0
                ),
            );
        }
        for (mark, name) in &self.marks {
            let at = x.place(*mark);
            let (name, class) = (escape(name), if at > WIDTH * 0.6 { "end" } else { "start" });
            let beside = if at > WIDTH * 0.6 { at - 4.0 } else { at + 4.0 };
            push(
                svg,
                format_args!(
                    "<path class=\"mark\" d=\"M{at:.1} {TOP}V{bottom}\"/><text x=\"{beside:.1}\" \
                     y=\"{:.1}\" class=\"{class}\">{name}</text>",
                    bottom - 6.0
                ),
            );
        }
        let (across, up) = (escape(&self.x.label), escape(&self.y.label));
        push(
            svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" class=\"middle label\">{across}</text><text \
                 transform=\"translate(13 {:.1}) rotate(-90)\" class=\"middle label\">{up}</text>",
                f64::midpoint(LEFT, right),
                HEIGHT - 8.0,
                f64::midpoint(TOP, bottom)
            ),
        );
    }
}

fn draw(svg: &mut String, series: &Series, x: &Scale, y: &Scale) {
    let colour = series.colour % 6;
    let finite = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let of = |(at, value): &(f64, f64)| (x.place(*at), y.place(*value));
        let points = points.iter().filter(|(_, value)| value.is_finite());
        points.map(of).collect()
    };
    match &series.shape {
        Shape::Line(points) | Shape::Dashes(points) => {
            let class = if matches!(series.shape, Shape::Line(_)) {
                "line"
            } else {
                "dashes"
            };
            let path = path(&finite(points));
            push(
                svg,
                format_args!("<path class=\"{class} c{colour}\" d=\"{path}\"/>"),
            );
        }
        Shape::Dots(points) => {
            for (x, y) in finite(points) {
                push(
                    svg,
                    format_args!(
                        "<circle class=\"dot c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
                    ),
                );
            }
        }
        Shape::Band(points) => {
            let low: Vec<(f64, f64)> = points.iter().map(|(x, low, _)| (*x, *low)).collect();
            let high: Vec<(f64, f64)> = points.iter().map(|(x, _, high)| (*x, *high)).collect();
            let mut around = finite(&low);
            around.extend(finite(&high).into_iter().rev());
            let path = path(&around);
            push(
                svg,
                format_args!("<path class=\"band c{colour}\" d=\"{path}Z\"/>"),
            );
        }
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (place, (x, y)) in points.iter().enumerate() {
        let letter = if place == 0 { 'M' } else { 'L' };
        push(&mut path, format_args!("{letter}{x:.1} {y:.1}"));
    }
    path
}

/// A number on an axis, without zeros that say nothing.
fn tick_text(tick: f64) -> String {
    let text = short(tick);
    if text.contains('.') {
        let text = text.trim_end_matches('0');
        return text.trim_end_matches('.').to_owned();
    }
    text
}

/// Adds to a text.
pub(crate) fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(more);
    debug_assert!(written.is_ok(), "to write to a text cannot fail");
}

/// Text as HTML has it.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
