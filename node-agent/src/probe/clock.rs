//! The offset of this machine's clock from a time server's, by one exchange (SNTP, RFC 4330 section 5).
//!
//! The offset is known only as well as the way there and back allows: by half of what the exchange took, plus the
//! server's own uncertainty. What is clearly within the bound is good, what is clearly beyond it is bad, and what the
//! measurement cannot tell is unknown. A server that is not synchronised itself, or says that it should be left alone, is
//! no measure.

use std::io;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use interlock_model::check::{ClockCheck, ProbeResult};
use tokio::net::UdpSocket;

use super::Names;
use super::outcome::{bad, ok, unknown};
use super::talk::Patience;

/// The bytes of a message without extensions.
const LENGTH: usize = 48;

/// Version 4, from a client.
const REQUEST: u8 = 0x23;

/// Seconds from the beginning of NTP's era (1900) to that of this machine's clock (1970).
const FROM_1900: u64 = 2_208_988_800;

/// Asks the server.
pub(super) async fn probe(names: &Names, check: &ClockCheck, patience: Patience) -> ProbeResult {
    let target = &check.target;
    let asked = tokio::time::timeout(patience.left(), ask(names, target, patience)).await;
    match asked {
        Ok(Ok(sample)) => judge(check, sample),
        Ok(Err(Trouble::Io(error))) => {
            unknown(format!("cannot ask {target} for the time: {error}"))
        }
        Ok(Err(Trouble::Useless(why))) => unknown(format!("{target} is no measure: {why}")),
        Err(_) => unknown(format!(
            "{target} does not tell the time within the time limit"
        )),
    }
}

/// What one exchange told, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    /// How far the server's clock is ahead of this one.
    ahead: f64,
    /// By how much that may be wrong in either direction.
    error: f64,
}

#[derive(Debug)]
enum Trouble {
    Io(io::Error),
    Useless(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn ask(names: &Names, target: &str, patience: Patience) -> Result<Sample, Trouble> {
    let addresses = names.addresses(target, patience.left()).await?;
    let address = addresses
        .first()
        .ok_or_else(|| io::Error::other("the name has no address"))?;
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).await?;
    // From now on only what this server sends arrives here.
    socket.connect(address).await?;
    // The server sends it back. That it is random, and no time, is how an answer is known to be to this question.
    let mut cookie = [0; 8];
    rand::fill(&mut cookie).map_err(|_| io::Error::other("no random numbers"))?;
    let mut request = [0; LENGTH];
    request[0] = REQUEST;
    request[40..48].copy_from_slice(&cookie);
    let (sent, began) = (wall(), tokio::time::Instant::now());
    socket.send(&request).await?;
    loop {
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).await?;
        let took = began.elapsed().as_secs_f64();
        let answer = &answer[..length];
        if length < LENGTH || answer[24..32] != cookie {
            continue;
        }
        return sample(answer, sent, took);
    }
}

/// This machine's clock, in seconds since 1970. To compare it is the very purpose here.
fn wall() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// What an answer of full length tells. The exchange began at `sent` by this machine's clock, and took `took` seconds by
/// one that is not stepped.
fn sample(answer: &[u8], sent: f64, took: f64) -> Result<Sample, Trouble> {
    let useless = |why: &str| Err(Trouble::Useless(why.to_owned()));
    let (leap, mode, stratum) = (answer[0] >> 6, answer[0] & 7, answer[1]);
    if mode != 4 {
        return useless("it does not answer as a time server");
    }
    // Of the codes of stratum 0 these mean who asks, the others the server (RFC 5905, section 7.4).
    if stratum == 0
        && [b"DENY", b"RSTR", b"RATE"]
            .iter()
            .any(|code| answer[12..16] == **code)
    {
        let code = String::from_utf8_lossy(&answer[12..16]).into_owned();
        return Err(Trouble::Useless(format!(
            "it wants to be left alone ({code})"
        )));
    }
    if leap == 3 || stratum == 0 || stratum > 15 {
        return useless("it is not synchronised itself");
    }
    // Both are fixed-point numbers of 16.16 bits: the way to the reference clock and back, and the error up to there.
    let fixed = |at: usize| {
        let bytes = [answer[at], answer[at + 1], answer[at + 2], answer[at + 3]];
        f64::from(u32::from_be_bytes(bytes)) / 65_536.0
    };
    let (root_delay, root_dispersion) = (fixed(4), fixed(8));
    let (received, replied) = (timestamp(answer, 32), timestamp(answer, 40));
    if replied < received {
        return useless("its clock ran backwards meanwhile");
    }
    let way = (took - (replied - received)).max(0.0);
    Ok(Sample {
        ahead: ((received - sent) + (replied - (sent + took))) / 2.0,
        error: way / 2.0 + root_delay / 2.0 + root_dispersion,
    })
}

/// A time as NTP has it, 32.32 bits since 1900, in seconds since 1970. With the highest bit clear it is of the era that
/// begins in 2036 (RFC 4330, section 3).
fn timestamp(answer: &[u8], at: usize) -> f64 {
    let word = |at: usize| {
        u32::from_be_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]])
    };
    let (seconds, fraction) = (word(at), word(at + 4));
    let era = if seconds >> 31 == 0 { 1_u64 << 32 } else { 0 };
    let seconds = (era + u64::from(seconds)).saturating_sub(FROM_1900);
    // Below 2^53, so exact.
    seconds as f64 + f64::from(fraction) / 4_294_967_296.0
}

fn judge(check: &ClockCheck, sample: Sample) -> ProbeResult {
    let target = &check.target;
    let most = check.max_offset.as_secs_f64();
    let (off, error) = (sample.ahead.abs(), sample.error);
    let direction = if sample.ahead > 0.0 {
        "behind"
    } else {
        "ahead of"
    };
    let told = |seconds: f64| {
        Duration::try_from_secs_f64(seconds).map_or_else(
            |_| "an absurd time".to_owned(),
            |duration| {
                let rounded =
                    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
                format!("{rounded:?}")
            },
        )
    };
    let what = format!(
        "this clock is {} {direction} {target} (give or take {})",
        told(off),
        told(error)
    );
    if off + error <= most {
        ok(what)
    } else if off - error > most {
        bad(format!("{what}, allowed are {:?}", check.max_offset))
    } else {
        unknown(format!(
            "{what}, which is not good enough to tell {:?}",
            check.max_offset
        ))
    }
}

#[cfg(test)]
mod tests {
    use interlock_model::check::Verdict;

    use super::*;

    /// An answer of a synchronised server that received and replied at these times.
    fn answer(received: f64, replied: f64) -> Vec<u8> {
        let mut answer = vec![0; LENGTH];
        answer[0] = 0x24;
        answer[1] = 2;
        // 1/64 s to the reference clock and back, 1/128 s of dispersion.
        answer[4..8].copy_from_slice(&1024_u32.to_be_bytes());
        answer[8..12].copy_from_slice(&512_u32.to_be_bytes());
        for (at, time) in [(32, received), (40, replied)] {
            let fixed = ((time + FROM_1900 as f64) * 4_294_967_296.0) as u64;
            answer[at..at + 8].copy_from_slice(&fixed.to_be_bytes());
        }
        answer
    }

    const NOW: f64 = 1_800_000_000.0;

    #[test]
    fn an_offset_is_what_is_left_when_the_way_is_taken_away() {
        // 100 ms there, 200 ms inside, 100 ms back, and five seconds ahead.
        let sample = sample(&answer(NOW + 5.1, NOW + 5.3), NOW, 0.4).unwrap();
        assert!((sample.ahead - 5.0).abs() < 0.001, "{sample:?}");
        let expected = 0.1 + 1.0 / 128.0 + 1.0 / 128.0;
        assert!((sample.error - expected).abs() < 0.001, "{sample:?}");
    }

    #[test]
    fn a_server_that_is_no_measure_is_not_believed() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut answer = answer(NOW, NOW);
            change(&mut answer);
            sample(&answer, NOW, 0.0).is_err()
        };
        assert!(!refused(&|_| ()));
        assert!(refused(&|answer| answer[0] = 0xe4), "not synchronised");
        assert!(refused(&|answer| answer[1] = 16), "not synchronised");
        assert!(refused(&|answer| answer[1] = 0), "kiss of death");
        assert!(refused(&|answer| answer[0] = 0x23), "a request");
    }

    #[test]
    fn the_time_goes_on_when_the_era_ends() {
        let mut answer = vec![0; LENGTH];
        answer[32..36].copy_from_slice(&1_u32.to_be_bytes());
        assert!((timestamp(&answer, 32) - 2_085_978_497.0).abs() < 0.001);
    }

    #[test]
    fn what_the_measurement_cannot_tell_is_unknown() {
        let check = ClockCheck {
            target: "ntp1:123".to_owned(),
            max_offset: Duration::from_secs(1),
        };
        for (ahead, error, verdict) in [
            (0.4, 0.1, Verdict::Ok),
            (-0.4, 0.1, Verdict::Ok),
            (-5.0, 0.1, Verdict::Bad),
            (5.0, 0.1, Verdict::Bad),
            (0.95, 0.1, Verdict::Unknown),
            (1.05, 0.1, Verdict::Unknown),
            (0.0, 2.0, Verdict::Unknown),
        ] {
            let result = judge(&check, Sample { ahead, error });
            assert_eq!(result.verdict, verdict, "{ahead}: {result:?}");
        }
        let behind = judge(
            &check,
            Sample {
                ahead: 5.0,
                error: 0.1,
            },
        );
        assert!(behind.evidence.contains("5s behind ntp1:123"), "{behind:?}");
    }
}
