//! Which monitors have series of their own in the metrics: a handle, which sees what a reload changes.

use super::directory::{Directory, Row};
use crate::domain::{
    job::MonitorId,
    selector,
    series::{Counts, MONITORS_MAX, MetricsSettings, exposed},
};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Those that are chosen.
#[derive(Debug, Default)]
pub struct Choice {
    /// By tenant and name.
    pub monitors: Vec<Chosen>,
    /// Monitors that are meant, too, and have none, because there are too many.
    pub left_out: usize,
}

/// One of them.
#[derive(Debug)]
pub struct Chosen {
    /// Which.
    pub row: Row,
    /// Labels of its series, beside its tenant and its name.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// What is counted of it.
    pub counts: Arc<Counts>,
}

/// The present choice.
#[derive(Clone, Debug, Default)]
pub struct Series(Arc<RwLock<Arc<Choice>>>);

impl Series {
    /// The present one.
    #[must_use]
    pub fn present(&self) -> Arc<Choice> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on those that the settings mean. What was counted of one that was chosen before goes on. Returns of whom
    /// something is to be counted.
    pub fn choose(&self, directory: &Directory, settings: &MetricsSettings) -> Vec<(MonitorId, Arc<Counts>)> {
        let before = self.present();
        let known: HashMap<MonitorId, &Arc<Counts>> = before
            .monitors
            .iter()
            .map(|chosen| (chosen.row.seat.monitor, &chosen.counts))
            .collect();
        let mut choice = Choice::default();
        if let Some(selector) = &settings.monitors {
            let labels: Vec<(&Arc<str>, Arc<str>)> = settings
                .labels
                .iter()
                .map(|label| (label, exposed(label).into()))
                .collect();
            for row in directory
                .select(selector)
                .iter()
                .filter_map(|row| directory.row(row))
            {
                if choice.monitors.len() == MONITORS_MAX {
                    choice.left_out += 1;
                    continue;
                }
                let class = row.spec.class();
                let labels = labels
                    .iter()
                    .map(|(label, exposed)| (Arc::clone(exposed), selector::label(class, label).into()));
                let counts = known.get(&row.seat.monitor).map(|counts| Arc::clone(counts));
                choice.monitors.push(Chosen {
                    row: row.clone(),
                    labels: labels.collect(),
                    counts: counts.unwrap_or_default(),
                });
            }
        }
        let counted = choice
            .monitors
            .iter()
            .map(|chosen| (chosen.row.seat.monitor, Arc::clone(&chosen.counts)))
            .collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(choice);
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        board::Seat,
        series::Ending,
        spec::{Draft, MonitorSpec},
        time::Wall,
    };
    use std::time::Duration;

    fn directory(count: u32) -> Directory {
        let monitors: Vec<MonitorSpec> = (0..count)
            .map(|number| {
                let mut draft = Draft::check(&format!("m{number:05}"));
                let site = if number.is_multiple_of(2) { "a" } else { "b" };
                draft.labels = [("the-site".into(), site.into())].into();
                draft.ready()
            })
            .collect();
        let seats: Vec<Seat> = (0..count)
            .map(|number| Seat {
                monitor: MonitorId(u64::from(number)),
                slot: number,
                tag: 0,
            })
            .collect();
        Directory::new(&monitors, &seats)
    }

    fn settings(selector: &str, labels: &[&str]) -> MetricsSettings {
        MetricsSettings {
            monitors: Some(selector.parse().unwrap()),
            labels: labels.iter().map(|label| (*label).into()).collect(),
        }
    }

    #[test]
    fn nobody_is_chosen_by_default_and_nobody_beyond_the_bound() {
        let series = Series::default();
        let many = directory(2 * u32::try_from(MONITORS_MAX).unwrap() + 20);
        assert!(series.choose(&many, &MetricsSettings::default()).is_empty());
        let counted = series.choose(&many, &settings("the-site=a", &["the-site", "none"]));
        let choice = series.present();
        assert_eq!(
            (counted.len(), choice.monitors.len(), choice.left_out),
            (MONITORS_MAX, MONITORS_MAX, 10)
        );
        let first = &choice.monitors[0];
        let labels: Vec<(&str, &str)> = first
            .labels
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(labels, [("label_the_site", "a"), ("label_none", "")]);
    }

    #[test]
    fn what_was_counted_goes_on_as_long_as_the_monitor_is_chosen() {
        let series = Series::default();
        let all = directory(4);
        let counted = series.choose(&all, &settings("", &[]));
        counted[2].1.add(Ending::Fault, Wall(5), Duration::ZERO);
        let again = series.choose(&all, &settings("the-site=a", &[]));
        assert_eq!(again.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(again[1].1.read().endings, [0, 0, 0, 1]);
        let none = series.choose(&all, &settings("the-site=c", &[]));
        assert!(none.is_empty() && series.present().left_out == 0);
        let anew = series.choose(&all, &settings("", &[]));
        assert_eq!(anew[2].1.read().endings, [0; 4]);
    }
}
