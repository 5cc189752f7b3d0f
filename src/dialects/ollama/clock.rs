//! Times as RFC 3339 writes them.

const DAY: u64 = 24 * 60 * 60;

/// The last second that four digits of a year can say.
const LAST: u64 = 253_402_300_799;

/// Seconds since 1970 as `2026-08-01T12:00:00Z`.
pub(super) fn written(seconds: u64) -> String {
    let seconds = seconds.min(LAST);
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The seconds since 1970 of such a text, with whatever fraction and offset; `None` for what is none, or before 1970.
pub(super) fn read(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fits = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let local = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = || {
        let (hours, minutes) = zone.get(1..)?.split_once(':')?;
        Some(hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60).filter(|offset| *offset < DAY)
    };
    match zone.get(..1)? {
        "Z" | "z" => Some(local),
        "+" => local.checked_sub(offset()?),
        "-" => Some(local + offset()?),
        _ => None,
    }
}

/// The days from 1970 to a date. Years are counted from March, so that the leap day is their last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let before = 365 * year + year / 4 - year / 100 + year / 400;
    // From the first of March of year 0 to the first day of 1970 there are 719468 days.
    before + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The date some days after 1970 began.
fn date(days_since: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days_since / 366;
    while days(year + 1, 1, 1) <= days_since {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= days_since {
        month += 1;
    }
    (year, month, days_since - days(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_standard_wants() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(written(seconds), text);
            assert_eq!(read(text), Some(seconds));
        }
    }

    #[test]
    fn what_no_clock_says_is_the_last_second() {
        assert_eq!(written(u64::MAX), written(LAST));
    }

    #[test]
    fn every_day_comes_after_the_one_before() {
        for day in 0..60_000 {
            assert_eq!(read(&written(day * DAY)), Some(day * DAY), "{}", written(day * DAY));
        }
    }

    #[test]
    fn fractions_and_offsets_are_understood() {
        assert_eq!(read("2025-08-22T09:30:25.631991784Z"), Some(1_755_855_025));
        assert_eq!(read("2025-08-22T11:30:25.6+02:00"), Some(1_755_855_025));
        assert_eq!(read("2025-08-22T02:30:25-07:00"), Some(1_755_855_025));
        for none in
            ["", "yesterday", "2025-13-01T00:00:00Z", "0001-01-01T00:00:00Z", "2025-08-22T09:30:25", "äöüäöü"]
        {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
