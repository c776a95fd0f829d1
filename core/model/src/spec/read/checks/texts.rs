//! The texts of checks: addresses, URLs and paths, with placeholders in them.

use std::net::IpAddr;

use super::super::Field;
use crate::spec::placeholder::{PLACEHOLDERS, unknown_placeholder};
use crate::spec::problem::{Problem, quoted};

/// A text in which placeholders may stand, with each replaced by an example, for looking at its form.
pub(super) fn filled<'a>(field: &Field<'a>) -> Option<(&'a str, String)> {
    let text = field.text()?;
    if let Some(word) = unknown_placeholder(text) {
        field.report(
            Problem::error(format!(
                "{} is not a placeholder",
                quoted(&format!("{{{word}}}"))
            ))
            .why("placeholders are {address} and {node}")
            .suggest_nearest(word, PLACEHOLDERS),
        );
        return None;
    }
    Some((
        text,
        text.replace("{address}", "192.0.2.1")
            .replace("{node}", "node"),
    ))
}

pub(super) fn target(field: &Field<'_>) -> Option<String> {
    let (text, example) = filled(field)?;
    if let Err(why) = host_and_port(&example) {
        field.report(
            Problem::error(format!("{} is not host:port", quoted(text)))
                .why(why)
                .suggest("write it as 10.1.0.9:2049 or {address}:3306"),
        );
        return None;
    }
    Some(text.to_owned())
}

fn host_and_port(text: &str) -> Result<(), &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    match port.parse::<u16>() {
        Ok(0) | Err(_) => return Err("the port is a number from 1 to 65535"),
        Ok(_) => {}
    }
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(v6) if v6.parse::<IpAddr>().is_ok() => Ok(()),
        Some(_) => Err("what stands in brackets is not an IPv6 address"),
        None if host.contains(':') => Err("an IPv6 address stands in brackets: [fd00::1]:80"),
        None if is_host(host) => Ok(()),
        None if ends_in_a_number(host) => Err("the host is a mistyped IPv4 address"),
        None => Err("the host is an IP address or a host name"),
    }
}

/// Is it an IP address or made like a host name (RFC 1123)?
///
/// What ends in a number is no host name: the last label of a name is alphabetic (RFC 3696, section 2), so `10.0.0.256` is
/// a mistyped address. Resolvers read such texts by older rules, and go elsewhere: `5` is 0.0.0.5, and `10.1.3` is 10.1.0.3.
/// Nor is what begins with `-`, which a command would take for an option.
pub(in crate::spec) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.parse::<IpAddr>().is_ok()
        || (text.len() <= 253
            && !text.starts_with('-')
            && text.split('.').all(label)
            && !ends_in_a_number(text))
}

/// Is it meant for an IPv4 address, as the URL Standard tells it from a name ("ends in a number"): is its last label all
/// digits, or hexadecimal after `0x`?
pub(in crate::spec) fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hexadecimal = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

/// A URL of one of two schemes: in clear text, and with TLS.
pub(super) fn url(field: &Field<'_>, schemes: [&str; 2]) -> Option<String> {
    let (text, example) = filled(field)?;
    let [plain, secure] = schemes;
    let problem = |why: &str| {
        Problem::error(format!(
            "{} is no {plain}:// or {secure}:// URL",
            quoted(text)
        ))
        .why(why)
    };
    let rest = schemes.iter().find_map(|scheme| {
        example
            .strip_prefix(*scheme)
            .and_then(|rest| rest.strip_prefix("://"))
    });
    let Some(rest) = rest else {
        field.report(match example.split_once("://") {
            Some(_) => problem("it begins with another scheme"),
            None => problem("it begins with the scheme")
                .suggest(format!("write {}", quoted(&format!("{plain}://{text}")))),
        });
        return None;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let with_port = if authority
        .rsplit(']')
        .next()
        .unwrap_or_default()
        .contains(':')
    {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let why = match host_and_port(&with_port) {
        _ if example.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            "it has white space in it"
        }
        _ if !example.is_ascii() => "characters beyond ASCII are written as %XX",
        Ok(()) => return Some(text.to_owned()),
        Err(why) => why,
    };
    field.report(problem(why));
    None
}

/// A name that a certificate can have.
pub(super) fn server_name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_host(text) {
        return Some(text.to_owned());
    }
    field.report(
        Problem::error(format!("{} is not a host name", quoted(text)))
            .suggest("write the name alone, such as www.example.com"),
    );
    None
}

pub(super) fn path(field: &Field<'_>) -> Option<String> {
    let (text, example) = filled(field)?;
    if example.starts_with('/') && !example.split('/').any(|part| part == "..") {
        return Some(text.to_owned());
    }
    field.report(
        Problem::error(format!("{} is not an absolute path", quoted(text)))
            .why("it begins with '/' and has no '..'"),
    );
    None
}

pub(super) fn ip(field: &Field<'_>) -> Option<String> {
    let (text, example) = filled(field)?;
    if example.parse::<IpAddr>().is_ok() {
        return Some(text.to_owned());
    }
    let problem = Problem::error(format!("{} is not an IP address", quoted(text)));
    field.report(match text.split_once('/') {
        Some((bare, _)) if bare.parse::<IpAddr>().is_ok() => problem
            .why("the prefix length does not belong here")
            .suggest(format!("write {bare}")),
        _ => problem,
    });
    None
}
