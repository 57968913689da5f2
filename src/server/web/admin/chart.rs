//! A bar chart without script: numbers become rectangles here, the template prints them.
use crate::domain::time::Day;
use crate::server::web::admin::figures::Counts;
use crate::server::web::language;
use crate::server::web::texts::Lang;

/// A chart, in its own coordinates.
pub struct Chart {
    /// Width of the drawing.
    pub width: u32,
    /// Height of the drawing.
    pub height: u32,
    /// Where bars begin.
    pub left: u32,
    /// Horizontal lines with their values.
    pub grid: Vec<GridLine>,
    /// Bars.
    pub bars: Vec<Bar>,
    /// Names below the bars.
    pub ticks: Vec<Tick>,
}

/// A horizontal line.
pub struct GridLine {
    /// Where.
    pub y: u32,
    /// Its value.
    pub label: String,
}

/// One bar.
pub struct Bar {
    /// `sent`, `received` or `refused`: its colour.
    pub class: &'static str,
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// What the pointer reads.
    pub title: String,
}

/// A name below the bars.
pub struct Tick {
    /// Its middle.
    pub x: u32,
    /// The name.
    pub label: String,
}

const WIDTH: u32 = 900;
const HEIGHT: u32 = 260;
const LEFT: u32 = 64;
const TOP: u32 = 12;
const BOTTOM: u32 = 28;
const SERIES: [&str; 3] = ["sent", "received", "refused"];

/// More letters a day than there will ever be; keeps the arithmetic inside its range.
const VALUE_MAX: u64 = 1_000_000_000_000_000;

/// Draws the days.
pub fn chart(days: &[(Day, Counts)], lang: Lang) -> Chart {
    let t = lang.texts();
    let names = [t.admin_sent, t.admin_received, t.admin_refused];
    let shown = |counts: &Counts, series| counts.of(series).min(VALUE_MAX);
    let highest =
        days.iter().flat_map(|(_, counts)| SERIES.map(|series| shown(counts, series))).max();
    let step = grid_step(highest.unwrap_or(0));
    let lines = highest.unwrap_or(0).div_ceil(step).max(1);
    let top_value = step * lines;
    let plot = HEIGHT - TOP - BOTTOM;
    let y_of = |value: u64| {
        let part = u128::from(plot) * u128::from(value) / u128::from(top_value);
        HEIGHT - BOTTOM - u32::try_from(part).unwrap_or(plot)
    };

    let slots = u32::try_from(days.len()).unwrap_or(u32::MAX).max(1);
    let slot = ((WIDTH - LEFT) / slots).max(4);
    // A group of bars takes three quarters of its slot, and no bar is wider than a thumb.
    let bar = (slot * 3 / 4 / 3).clamp(1, 40);
    // Names must not run into each other: every one, every fifth…
    let every = (60 / slot).max(1) as usize;

    let mut bars = Vec::new();
    let mut ticks = Vec::new();
    for (place, (day, counts)) in days.iter().enumerate() {
        let start = LEFT + slot * u32::try_from(place).unwrap_or(0);
        let inset = (slot - (bar * 3).min(slot)) / 2;
        for (number, (series, name)) in SERIES.iter().zip(names).enumerate() {
            let value = shown(counts, series);
            if value == 0 {
                continue;
            }
            // Something is never drawn as nothing.
            let y = y_of(value).min(HEIGHT - BOTTOM - 2);
            bars.push(Bar {
                class: series,
                x: start + inset + bar * u32::try_from(number).unwrap_or(0),
                y,
                width: bar.saturating_sub(u32::from(bar > 3)).max(1),
                height: HEIGHT - BOTTOM - y,
                title: format!("{day} – {name} : {}", language::number(value, lang)),
            });
        }
        // The newest day always has its name.
        if (days.len() - 1 - place).is_multiple_of(every) {
            let label = format!("{:02}/{:02}", day.day, day.month);
            ticks.push(Tick { x: start + slot / 2, label });
        }
    }
    let grid = (0..=lines)
        .map(|line| GridLine { y: y_of(step * line), label: language::number(step * line, lang) });
    Chart { width: WIDTH, height: HEIGHT, left: LEFT, grid: grid.collect(), bars, ticks }
}

/// 1, 2 or 5 times a power of ten, so that two to six lines are drawn.
fn grid_step(highest: u64) -> u64 {
    let mut step = 1;
    for factor in [2, 5, 10].into_iter().cycle().take(54) {
        if highest.div_ceil(step) <= 5 {
            break;
        }
        let decade = 10_u64.saturating_pow(step.ilog10());
        step = decade.saturating_mul(factor);
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::web::admin::figures::by_day;
    use crate::server::web::admin::figures::tests::stat;

    fn drawn(counts: &[u64]) -> Chart {
        let days: Vec<Day> =
            (1..=counts.len()).map(|day| Day { year: 2026, month: 11, day: day as i8 }).collect();
        let rows: Vec<_> = days
            .iter()
            .zip(counts)
            .map(|(day, count)| stat(day.day, "a.test", "sent", "", *count))
            .collect();
        chart(&by_day(&rows, &days), Lang::Fr)
    }

    #[test]
    fn bars_stay_inside_the_drawing() {
        for counts in [
            vec![0],
            vec![1],
            vec![u64::MAX, 1],
            (0..30).map(|n| n * n).collect(),
            vec![7; 7],
            vec![],
        ] {
            let chart = drawn(&counts);
            for bar in &chart.bars {
                assert!(bar.x >= chart.left && bar.x + bar.width <= chart.width, "{counts:?}");
                assert!(bar.y + bar.height <= chart.height && bar.height > 0, "{counts:?}");
            }
            assert!((2..=7).contains(&chart.grid.len()), "{counts:?}: {}", chart.grid.len());
        }
    }

    #[test]
    fn grid_values_are_round() {
        for (highest, step) in
            [(0, 1), (5, 1), (6, 2), (10, 2), (11, 5), (26, 10), (60, 20), (400, 100)]
        {
            assert_eq!(grid_step(highest), step, "{highest}");
        }
    }
}
