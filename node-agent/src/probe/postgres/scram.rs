//! The login by SCRAM-SHA-256 (RFC 5802, RFC 7677; PostgreSQL documentation, *SASL Authentication*), without channel binding,
//! because the connection has no TLS. The password does not travel, and the server must prove that it knows it, too.
//!
//! The password is taken as it is. RFC 5802 would have it normalised (SASLprep), which changes no ASCII text.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The most rounds that a server may ask for. PostgreSQL asks for 4,096; a hundred times that is a few tenths of a second,
/// and more a way to keep this machine busy.
const MAX_ROUNDS: u32 = 400_000;

/// The base64 of `n,,`: no channel binding, no other identity.
const HEADER: &str = "biws";

/// Why the exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The server sends something else than the exchange has here.
    #[error("it does not keep to SCRAM-SHA-256")]
    Malformed,
    /// It asks for more work than is reasonable.
    #[error("it asks for more than {MAX_ROUNDS} rounds")]
    TooManyRounds,
    /// It does not know the password.
    #[error("it cannot prove that it knows the password: is it another server?")]
    Impostor,
}

/// An exchange that has begun.
#[derive(Debug)]
pub(super) struct Scram {
    nonce: String,
}

/// An exchange whose proof was sent.
#[derive(Debug)]
pub(super) struct Proven {
    /// What the server must answer.
    signature: hmac::Tag,
}

impl Scram {
    /// With this nonce: printable ASCII without a comma, different each time.
    pub(super) fn new(nonce: String) -> Self {
        Self { nonce }
    }

    /// The first message. The user is the one of the connection, so the server ignores the one that could stand here.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.bare())
    }

    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// The second message, to the server's first.
    pub(super) fn proof(&self, server: &str, password: &str) -> Result<(String, Proven), Error> {
        self.prove(&self.bare(), server, password)
    }

    fn prove(&self, bare: &str, server: &str, password: &str) -> Result<(String, Proven), Error> {
        let mut parts = server.split(',');
        let mut part = |name: &str| {
            parts
                .next()
                .and_then(|part| part.strip_prefix(name))
                .ok_or(Error::Malformed)
        };
        let (nonce, salt, rounds) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() <= self.nonce.len() {
            return Err(Error::Malformed);
        }
        let salt = BASE64.decode(salt).map_err(|_| Error::Malformed)?;
        let rounds: NonZeroU32 = rounds.parse().map_err(|_| Error::Malformed)?;
        if rounds.get() > MAX_ROUNDS {
            return Err(Error::TooManyRounds);
        }
        let mut salted = [0; 32];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            &salt,
            password.as_bytes(),
            &mut salted,
        );
        let mac =
            |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text.as_bytes());
        let closing = format!("c={HEADER},r={nonce}");
        let whole = format!("{bare},{server},{closing}");
        let client = mac(&salted, "Client Key");
        let signature = mac(digest(&SHA256, client.as_ref()).as_ref(), &whole);
        let proof: Vec<u8> = std::iter::zip(client.as_ref(), signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect();
        let expected = mac(mac(&salted, "Server Key").as_ref(), &whole);
        Ok((
            format!("{closing},p={}", BASE64.encode(proof)),
            Proven {
                signature: expected,
            },
        ))
    }
}

impl Proven {
    /// Takes the server's last message.
    pub(super) fn verify(&self, server: &str) -> Result<(), Error> {
        let signature = server
            .split(',')
            .next()
            .and_then(|part| part.strip_prefix("v="));
        let signature = signature.and_then(|text| BASE64.decode(text).ok());
        match signature {
            Some(signature) if signature == self.signature.as_ref() => Ok(()),
            Some(_) => Err(Error::Impostor),
            None => Err(Error::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3. Its first message names the user; PostgreSQL's does not.
    const BARE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn scram() -> Scram {
        Scram::new("rOprNGfwEbeRWgbNEkqO".to_owned())
    }

    #[test]
    fn the_example_of_the_standard_comes_out() {
        let (closing, proven) = scram().prove(BARE, SERVER, "pencil").unwrap();
        assert_eq!(
            closing,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let last = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(proven.verify(last), Ok(()));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let (_, proven) = scram().prove(BARE, SERVER, "pen").unwrap();
        let last = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(proven.verify(last), Err(Error::Impostor));
        assert_eq!(proven.verify("e=other-error"), Err(Error::Malformed));
    }

    #[test]
    fn a_server_can_neither_replay_nor_keep_this_machine_busy() {
        let answer = |server: &str| scram().proof(server, "pencil").map(drop).unwrap_err();
        assert_eq!(answer("r=another,s=W22Z,i=4096"), Error::Malformed);
        assert_eq!(
            answer("r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096"),
            Error::Malformed
        );
        assert_eq!(
            answer("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=0"),
            Error::Malformed
        );
        assert_eq!(
            answer("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=2000000000"),
            Error::TooManyRounds
        );
        assert_eq!(answer(""), Error::Malformed);
    }
}
