//! A picture of how something grows: SVG on a white ground, so that it can be read in light and dark
//! pages.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

use super::{
    BOUND, BY_HOST, BY_WASM, COLD_HOST, COLD_WASM, FLOOR, FORGETFUL_HOST, NO_FILTER, Result,
    TWICE_THE_BOUND, WARM,
};

const SIZE: (u32, u32) = (860, 520);
/// Above the chart: the title, and who is who.
const HEAD: u32 = 92;
const FONT: &str = "sans-serif";

/// Okabe and Ito's colours, which the colour-blind tell apart, too. One thing has one colour in all plots.
fn colour(line: &str) -> RGBColor {
    match line {
        FLOOR | BOUND => RGBColor(0, 0, 0),
        NO_FILTER | TWICE_THE_BOUND => RGBColor(130, 130, 130),
        WARM => RGBColor(0, 114, 178),
        COLD_HOST | BY_HOST => RGBColor(0, 158, 115),
        COLD_WASM | BY_WASM => RGBColor(213, 94, 0),
        FORGETFUL_HOST => RGBColor(86, 180, 233),
        _ => RGBColor(204, 121, 167),
    }
}

pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Copy)]
pub(crate) struct Axis {
    /// What, and its unit.
    pub(crate) label: &'static str,
    pub(crate) logarithmic: bool,
}

pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

pub(crate) struct Point {
    pub(crate) x: f64,
    /// The lower quartile, the median, the upper quartile.
    pub(crate) y: [f64; 3],
}

/// An axis from end to end, with the values that are written at it.
struct Scale {
    logarithmic: bool,
    ends: Range<f64>,
    ticks: Vec<f64>,
}

impl Scale {
    fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            value.log10()
        } else {
            value
        }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let [start, end, place] =
            [self.ends.start, self.ends.end, *value].map(|value| self.place(value));
        from + ((place - start) / (end - start) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.ends.clone()
    }
}

impl Axis {
    /// Round values up to the largest.
    fn ticks(self, least: f64, most: f64) -> Vec<f64> {
        if self.logarithmic {
            let exponents = least.log10().floor() as i32..=most.log10().ceil() as i32;
            let values =
                exponents.flat_map(|power| [1.0, 2.0, 5.0].map(|one| one * 10_f64.powi(power)));
            return values
                .filter(|value| (least * 0.99..=most * 1.01).contains(value))
                .collect();
        }
        let rough = most / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|one| one * power).into_iter();
        let step = step.clone().find(|step| *step >= rough).unwrap_or(rough);
        (0..=5)
            .map(|count| f64::from(count) * step)
            .filter(|value| *value <= most)
            .collect()
    }
}

/// Three digits, and no more zeros than it needs.
fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!(
            "{} {:03}",
            value.round() as u64 / 1000,
            value.round() as u64 % 1000
        )
    } else {
        format!("{}", (value * 100.0).round() / 100.0)
    }
}

/// The picture. Each line has its quartiles as a band.
pub(crate) fn draw(plot: &Plot) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (head, chart) = root.split_vertically(HEAD);
        draw_head(&head, plot)?;
        draw_chart(&chart, plot)?;
        root.present()?;
    }
    Ok(svg)
}

fn draw_head(area: &DrawingArea<SVGBackend<'_>, Shift>, plot: &Plot) -> Result<()> {
    let title = (FONT, 22).into_font().style(FontStyle::Bold);
    area.draw(&Text::new(plot.title, (20, 14), title))?;
    for (index, line) in plot.lines.iter().enumerate() {
        let (column, row) = (index % 3, index / 3);
        let (x, y) = (24 + 278 * column as i32, 52 + 22 * row as i32);
        let colour = colour(&line.name);
        area.draw(&PathElement::new(
            [(x, y), (x + 22, y)],
            colour.stroke_width(3),
        ))?;
        area.draw(&Text::new(line.name.clone(), (x + 28, y - 8), (FONT, 16)))?;
    }
    Ok(())
}

fn draw_chart(area: &DrawingArea<SVGBackend<'_>, Shift>, plot: &Plot) -> Result<()> {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let (left, right) = (
        least(&mut points().map(|point| point.x)),
        most(&mut points().map(|point| point.x)),
    );
    let top = most(&mut points().map(|point| point.y[2])) * 1.05;
    let bottom = if plot.y.logarithmic {
        least(&mut points().map(|point| point.y[0])) * 0.9
    } else {
        0.0
    };
    let mut xs: Vec<f64> = points().map(|point| point.x).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let across = Scale {
        logarithmic: plot.x.logarithmic,
        ends: if plot.x.logarithmic {
            left / 1.1..right * 1.1
        } else {
            left - (right - left) * 0.02..right + right * 0.02
        },
        ticks: xs,
    };
    let upwards = Scale {
        logarithmic: plot.y.logarithmic,
        ticks: plot.y.ticks(bottom, top),
        ends: bottom..top,
    };
    let mut chart = ChartBuilder::on(area)
        .margin_left(14)
        .margin_right(24)
        .margin_bottom(8)
        .x_label_area_size(48)
        .y_label_area_size(74)
        .build_cartesian_2d(across, upwards)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(RGBColor(225, 225, 225))
        .light_line_style(TRANSPARENT)
        .x_desc(plot.x.label)
        .y_desc(plot.y.label)
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .x_label_formatter(&|value| number(*value))
        .y_label_formatter(&|value| number(*value))
        .draw()?;
    for line in &plot.lines {
        let colour = colour(&line.name);
        let at = |quartile: usize| {
            let points = line.points.iter();
            points.map(move |point| (point.x, point.y[quartile]))
        };
        let band: Vec<(f64, f64)> = at(0).chain(at(2).rev()).collect();
        chart.draw_series([Polygon::new(band, colour.mix(0.18))])?;
        chart.draw_series(LineSeries::new(at(1), colour.stroke_width(2)))?;
        chart.draw_series(at(1).map(|place| Circle::new(place, 3, colour.filled())))?;
    }
    Ok(())
}
