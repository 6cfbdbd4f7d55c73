//! How long a verdict holds.

use crate::trust::Trust;
use crate::x509::{Certificate, UnixSeconds};

/// The seconds around a validation time in which a verdict cannot change: between two neighbouring
/// dates of all that it may depend on, the verdict is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    from: i64,
    /// Not in it any more.
    until: i64,
}

impl Window {
    pub(crate) const ALWAYS: Self = Self {
        from: i64::MIN,
        until: i64::MAX,
    };

    pub(crate) fn holds(&self, time: UnixSeconds) -> bool {
        self.from <= time.0 && time.0 < self.until
    }

    /// It ends at this date at the latest, or begins there. A date may be the last second of
    /// something or the first.
    pub(crate) fn narrow(&mut self, date: UnixSeconds, time: UnixSeconds) {
        for edge in [date.0, date.0.saturating_add(1)] {
            if edge <= time.0 {
                self.from = self.from.max(edge);
            } else {
                self.until = self.until.min(edge);
            }
        }
    }

    pub(crate) fn narrow_to(&mut self, certificate: &Certificate, time: UnixSeconds) {
        self.narrow(certificate.not_before(), time);
        self.narrow(certificate.not_after(), time);
    }

    /// At most so long from `time` on, and not before.
    pub(crate) fn shorten(&mut self, time: UnixSeconds, seconds: i64) {
        self.from = self.from.max(time.0);
        self.until = self.until.min(time.0.saturating_add(seconds));
    }
}

/// All dates of a trust config and its CRLs, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dates(Vec<UnixSeconds>);

impl Dates {
    pub(crate) fn of(trust: &Trust) -> Self {
        let mut dates = Vec::new();
        for store in trust.stores() {
            for certificate in store.anchors().iter().chain(store.intermediates()) {
                dates.extend([certificate.not_before(), certificate.not_after()]);
            }
            for crl in store.revocation().crls() {
                dates.push(crl.this_update());
                dates.extend(crl.next_update());
            }
        }
        dates.sort_unstable();
        dates.dedup();
        Self(dates)
    }

    /// The neighbouring ones are enough.
    pub(crate) fn narrow(&self, window: &mut Window, time: UnixSeconds) {
        let after = self.0.partition_point(|date| *date <= time);
        let (before, after) = self.0.split_at(after);
        for date in before.last().into_iter().chain(after.first()) {
            window.narrow(*date, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seconds_between_two_dates() {
        let at = UnixSeconds(50);
        let mut window = Window::ALWAYS;
        let dates = Dates(vec![UnixSeconds(10), UnixSeconds(40), UnixSeconds(60)]);
        dates.narrow(&mut window, at);
        let holds = |window: &Window, second| window.holds(UnixSeconds(second));
        assert!(holds(&window, 41) && holds(&window, 59));
        // The second of a date may be told from both of its neighbours.
        assert!(!holds(&window, 40) && !holds(&window, 60));
        window.narrow(at, at);
        assert!(holds(&window, 50) && !holds(&window, 49) && !holds(&window, 51));
        let mut short = Window::ALWAYS;
        short.shorten(at, 5);
        assert!(holds(&short, 54) && !holds(&short, 55) && !holds(&short, 49));
    }
}
