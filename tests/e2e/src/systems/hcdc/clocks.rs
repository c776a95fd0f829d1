//! A time server for each node (SNTP, RFC 4330). The node's clock is as far behind as its server is ahead.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use anyhow::Result;

/// Seconds from 1900 to 1970.
const FROM_1900: u64 = 2_208_988_800;

/// The time server of one node. It ends with the test's process.
#[derive(Debug)]
pub struct Clock {
    ahead: Arc<AtomicU64>,
}

impl Clock {
    /// At this address, and right.
    pub(super) fn at(address: &str) -> Result<Self> {
        let socket = UdpSocket::bind(address)?;
        let ahead = Arc::new(AtomicU64::new(0));
        let its = Arc::clone(&ahead);
        std::thread::spawn(move || {
            let mut request = [0; 48];
            while let Ok((48, from)) = socket.recv_from(&mut request) {
                // Who asks again is answered again.
                let _ = socket.send_to(&answer(&request, its.load(Ordering::Relaxed)), from);
            }
        });
        Ok(Self { ahead })
    }

    /// So many seconds ahead from now on.
    pub fn be_ahead(&self, seconds: u64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }
}

/// Of a server of stratum 2, with the time of the request's arrival as that of its answer.
fn answer(request: &[u8; 48], ahead: u64) -> [u8; 48] {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    // The era of these 32 bits ends in 2036.
    let seconds = (now.as_secs() + FROM_1900 + ahead) & u64::from(u32::MAX);
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    let time = (seconds << 32 | fraction).to_be_bytes();
    let mut answer = [0; 48];
    (answer[0], answer[1]) = (0x24, 2);
    answer[24..32].copy_from_slice(&request[40..]);
    answer[32..40].copy_from_slice(&time);
    answer[40..].copy_from_slice(&time);
    answer
}
