//! Clocks: a stand-in for a time server, whose clock can be wrong.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use interlock_model::check::{CheckKind, ClockCheck, Verdict};

use crate::bed::Bed;

/// Seconds from 1900 to 1970.
const FROM_1900: u64 = 2_208_988_800;

/// Answers one request after the other, so many seconds ahead (or behind), with these changes to the answer. Ends with
/// the test's process.
pub(crate) fn time_server(ahead: i64, change: fn(&mut [u8; 48])) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut request = [0; 48];
        while let Ok((48, from)) = socket.recv_from(&mut request) {
            let now = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap();
            let seconds = (now.as_secs() + FROM_1900).strict_add_signed(ahead) as u32;
            let fraction = ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000) as u32;
            let mut answer = [0; 48];
            // Version 4, a server, of stratum 2.
            (answer[0], answer[1]) = (0x24, 2);
            answer[24..32].copy_from_slice(&request[40..]);
            for at in [32, 40] {
                answer[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
                answer[at + 4..at + 8].copy_from_slice(&fraction.to_be_bytes());
            }
            change(&mut answer);
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

pub(crate) fn check(address: SocketAddr) -> CheckKind {
    CheckKind::Clock(ClockCheck {
        target: address.to_string(),
        max_offset: Duration::from_secs(20),
    })
}

#[tokio::test]
async fn a_clock_is_good_that_agrees_and_bad_that_does_not_in_either_direction() {
    let bed = Bed::new();
    bed.says(
        check(time_server(0, |_| ())),
        Verdict::Ok,
        &["this clock is"],
    )
    .await;
    bed.says(
        check(time_server(-60, |_| ())),
        Verdict::Bad,
        &["ahead of", "allowed are 20s"],
    )
    .await;
    bed.says(
        check(time_server(60, |_| ())),
        Verdict::Bad,
        &["behind", "allowed are 20s"],
    )
    .await;
}

#[tokio::test]
async fn a_time_server_that_is_lost_itself_does_not_answer_or_is_not_there_is_no_measure() {
    let bed = Bed::new();
    let lost = check(time_server(0, |answer| answer[0] |= 0xc0));
    bed.says(lost, Verdict::Unknown, &["is not synchronised itself"])
        .await;
    // As chrony has it: its stratum is none, and nobody is to go away.
    let lost = check(time_server(0, |answer| {
        answer[0] |= 0xc0;
        answer[1] = 0;
    }));
    bed.says(lost, Verdict::Unknown, &["is not synchronised itself"])
        .await;
    let busy = check(time_server(0, |answer| {
        answer[1] = 0;
        answer[12..16].copy_from_slice(b"RATE");
    }));
    bed.says(busy, Verdict::Unknown, &["left alone (RATE)"])
        .await;
    // An answer to another question, as anybody on the way could send it.
    let forged = check(time_server(60, |answer| answer[24..32].fill(0)));
    let result = bed.look_within(forged, Duration::from_millis(300)).await;
    assert_eq!(result.verdict, Verdict::Unknown, "{result:?}");
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    bed.says(check(closed), Verdict::Unknown, &["cannot ask"])
        .await;
}
