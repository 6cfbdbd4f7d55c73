//! Points in time as certificates and variables write them.

use core::fmt;

use time::{Date, Month, OffsetDateTime, Time};

use super::certificate::time_form;
use super::der::{Element, NotDer, tag};

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds; negative before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub i64);

impl UnixSeconds {
    /// RFC 5280 4.1.2.5 and 5.1.2.4: UTCTime or GeneralizedTime in Zulu with seconds.
    pub(super) fn read(element: &Element<'_>) -> Result<Self, NotDer> {
        time_form(element)?;
        let mut digits = element.content.iter().map(|byte| byte & 0x0f);
        let mut two = || {
            let tens = digits.next().unwrap_or_default();
            tens.saturating_mul(10)
                .saturating_add(digits.next().unwrap_or_default())
        };
        let first = i32::from(two());
        let year = match element.tag {
            tag::GENERALIZED_TIME => first.saturating_mul(100).saturating_add(two().into()),
            // 4.1.2.5.1: 50 to 99 are 1950 to 1999.
            _ if first >= 50 => first.saturating_add(1900),
            _ => first.saturating_add(2000),
        };
        let month = Month::try_from(two()).map_err(|_| NotDer)?;
        let date = Date::from_calendar_date(year, month, two()).map_err(|_| NotDer)?;
        let time = Time::from_hms(two(), two(), two()).map_err(|_| NotDer)?;
        Ok(Self(date.with_time(time).assume_utc().unix_timestamp()))
    }
}

/// RFC 3339 with whole seconds and a numeric offset, as Google writes it: `2022-07-01T18:05:09+00:00`.
///
/// Outside the years -9999 to 9999, which no certificate can name, the number of seconds.
impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(t) = OffsetDateTime::from_unix_timestamp(self.0) else {
            return write!(f, "{}", self.0);
        };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+00:00",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::der::Reader;

    #[test]
    fn both_forms_are_read_and_no_impossible_date() {
        let read = |tag: u8, text: &str| {
            let mut der = vec![tag, u8::try_from(text.len()).unwrap()];
            der.extend(text.as_bytes());
            UnixSeconds::read(&Reader::new(&der).any().unwrap())
        };
        let (utc, generalized) = (tag::UTC_TIME, tag::GENERALIZED_TIME);
        assert_eq!(read(utc, "220701180509Z"), Ok(UnixSeconds(1_656_698_709)));
        assert_eq!(read(utc, "700101000000Z"), Ok(UnixSeconds(0)));
        assert_eq!(
            read(generalized, "20220701180509Z"),
            Ok(UnixSeconds(1_656_698_709))
        );
        assert_eq!(
            read(utc, "500101000000Z").map(|time| time.to_string()),
            Ok("1950-01-01T00:00:00+00:00".to_owned())
        );
        assert_eq!(
            read(utc, "491231235959Z").map(|time| time.to_string()),
            Ok("2049-12-31T23:59:59+00:00".to_owned())
        );
        for text in [
            "220230000000Z",
            "221301000000Z",
            "220101240000Z",
            "220101000060Z",
        ] {
            assert_eq!(read(utc, text), Err(NotDer), "{text}");
        }
        assert_eq!(read(utc, "2207011805Z"), Err(NotDer));
        assert_eq!(read(generalized, "20220701180509+0100"), Err(NotDer));
    }

    #[test]
    fn prints_google_form() {
        let print = |seconds| UnixSeconds(seconds).to_string();
        assert_eq!(print(0), "1970-01-01T00:00:00+00:00");
        assert_eq!(print(1_656_698_709), "2022-07-01T18:05:09+00:00");
        assert_eq!(print(4_107_542_399), "2100-02-28T23:59:59+00:00");
        assert_eq!(print(-1), "1969-12-31T23:59:59+00:00");
        assert_eq!(print(253_402_300_799), "9999-12-31T23:59:59+00:00");
        assert_eq!(print(i64::MAX), i64::MAX.to_string());
    }
}
