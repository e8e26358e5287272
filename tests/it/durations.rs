//! Durations, text by text as Go reads and prints them: the vectors in `tests/cases/durations.tsv` were made with Go itself.

use tollgate::model::period::{BadPeriod, Period, go_duration, parse_go_duration};

const VECTORS: &str = include_str!("../cases/durations.tsv");

/// One line of the file.
struct Vector {
    text: String,
    /// What Go reads, in nanoseconds, and how it prints that; none when it refuses.
    read: Option<(i64, &'static str)>,
}

fn vectors() -> impl Iterator<Item = Vector> {
    VECTORS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        let [text, nanos, printed] = columns[..] else { panic!("not three columns: {line}") };
        let read = (nanos != "refused").then(|| (nanos.parse().expect("a number of nanoseconds"), printed));
        Vector { text: serde_json::from_str(text).expect("a JSON string"), read }
    })
}

#[test]
fn every_text_is_read_or_refused_as_go_does() {
    let (mut read, mut refused) = (0, 0);
    for Vector { text, read: want } in vectors() {
        let got = parse_go_duration(&text);
        assert_eq!(got.as_ref().ok(), want.map(|(nanos, _)| nanos).as_ref(), "{text:?} gave {got:?}");
        *(if got.is_ok() { &mut read } else { &mut refused }) += 1;
    }
    assert!(read > 500 && refused > 300, "{read} read, {refused} refused: the file was cut");
}

#[test]
fn every_value_is_printed_as_go_does() {
    for (nanos, printed) in vectors().filter_map(|vector| vector.read) {
        let sign = if nanos < 0 { "-" } else { "" };
        assert_eq!(format!("{sign}{}", go_duration(nanos.unsigned_abs())), printed, "{nanos}");
    }
}

#[test]
fn a_refill_period_is_what_go_reads_above_zero() {
    for Vector { text, read } in vectors() {
        let period = text.parse::<Period>();
        match read {
            Some((nanos, printed)) if nanos > 0 => {
                assert_eq!(
                    period.map(|period| (period.as_nanos(), period.to_string())),
                    Ok((nanos.unsigned_abs(), printed.to_owned())),
                    "{text:?}"
                );
            }
            Some(_) => assert_eq!(period, Err(BadPeriod::NotPositive), "{text:?}"),
            None => assert!(!matches!(period, Ok(_) | Err(BadPeriod::NotPositive)), "{text:?} gave {period:?}"),
        }
    }
}
