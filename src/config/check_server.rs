//! `[server]`, `[server.tls]` and `[admin]`.

use super::address::is_port_taken;
use super::raw::{Table, Value};
use super::secret::readable_pem;
use super::{Address, Admin, Realtime, Server, ServerTls, Tick, TlsVersion, WantedReactor, defaults};

/// `server.listen`, and the place of the first address that other machines can reach.
pub(super) fn listen<'d>(table: &mut Table<'d>) -> (Vec<Address>, Option<Value<'d>>) {
    let Some(value) = table.take("listen") else { return (vec![Address::Tcp(defaults::LISTEN)], None) };
    let elements = value.elements();
    if elements.is_empty() {
        value.refuse_unseen("nothing to listen on".to_owned(), "write at least one address".to_owned());
    }
    let mut remote = None;
    let mut addresses: Vec<Address> = Vec::new();
    for element in elements {
        let Some(text) = element.text() else { continue };
        match text.parse::<Address>() {
            Err(what) => element.refuse(what, String::new()),
            Ok(address) if addresses.iter().any(|earlier| is_port_taken(earlier, &address)) => {
                element.refuse("an earlier listener has the same address".to_owned(), String::new());
            }
            Ok(address) => {
                if address.is_remote() && remote.is_none() {
                    remote = Some(element);
                }
                addresses.push(address);
            }
        }
    }
    (addresses, remote)
}

/// The place of `server.open` where it is `true`.
pub(super) fn open<'d>(table: &mut Table<'d>) -> Option<Value<'d>> {
    table.take("open").filter(|value| value.flag() == Some(true))
}

/// Refuses an address that other machines can reach while nobody needs a key, unless that is said to be meant.
pub(super) fn require_keys(remote: Option<&Value<'_>>, open: Option<&Value<'_>>, has_keys: bool) {
    match (remote, open) {
        (_, Some(open)) if has_keys => {
            let remedy = "remove it, or remove the [[keys]]";
            open.refuse("keys are configured, so the gateway is not open".to_owned(), remedy.to_owned());
        }
        (Some(remote), None) if !has_keys => {
            let what = "whoever reaches this address could use the gateway, for there are no [[keys]]";
            remote.refuse(what.to_owned(), "add one, or write server.open = true".to_owned());
        }
        _ => {}
    }
}

/// The rest of `[server]`.
pub(super) fn server(table: &mut Table<'_>, listen: Vec<Address>) -> Server {
    Server {
        listen,
        workers: table.whole_or("workers", "auto", &defaults::WORKERS),
        pin: table.flag("pin", defaults::PIN),
        reactor: reactor(table),
        tick: tick(table),
        connections_max: table.whole_or("connections_max", "auto", &defaults::CONNECTIONS_MAX),
        in_flight_max: table.whole("in_flight_max", &defaults::IN_FLIGHT_MAX),
        header_timeout: table.duration("header_timeout", &defaults::HEADER_TIMEOUT),
        body_timeout: table.duration("body_timeout", &defaults::BODY_TIMEOUT),
        idle_timeout: table.duration("idle_timeout", &defaults::IDLE_TIMEOUT),
        header_bytes_max: table.size("header_bytes_max", &defaults::HEADER_BYTES_MAX),
        headers_max: table.whole("headers_max", &defaults::HEADERS_MAX),
        body_bytes_max: table.size("body_bytes_max", &defaults::BODY_BYTES_MAX),
        h2_streams_max: table.whole("h2_streams_max", &defaults::H2_STREAMS_MAX),
        send_buffer_bytes: table.size("send_buffer", &defaults::SEND_BUFFER),
        realtime: realtime(&mut table.table("realtime")),
        tls: tls(&mut table.table("tls")),
    }
}

/// `[server.realtime]`
fn realtime(table: &mut Table<'_>) -> Realtime {
    Realtime {
        idle_timeout: table.duration("idle_timeout", &defaults::REALTIME_IDLE_TIMEOUT),
        total_timeout: table.duration("total_timeout", &defaults::REALTIME_TOTAL_TIMEOUT),
    }
}

/// `server.reactor`
fn reactor(table: &mut Table<'_>) -> WantedReactor {
    let words =
        [("auto", WantedReactor::Auto), ("io_uring", WantedReactor::IoUring), ("epoll", WantedReactor::Epoll)];
    table.choice("reactor", &words, defaults::REACTOR)
}

/// `server.tick`
fn tick(table: &mut Table<'_>) -> Tick {
    let bounds = &defaults::TICK;
    match table.take("tick") {
        Some(value) if value.is("auto") => Tick::Auto,
        Some(value) if value.is("off") => Tick::Off,
        Some(value) => {
            let duration = value.duration(bounds.least, bounds.most, ", \"auto\" or \"off\"");
            duration.map_or(bounds.default, Tick::Fixed)
        }
        None => bounds.default,
    }
}

/// `[server.tls]`, where the file has it.
fn tls(table: &mut Table<'_>) -> Option<ServerTls> {
    let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    let min_version = table.choice("min_version", &versions, TlsVersion::V1_2);
    if !table.is_present() {
        return None;
    }
    let cert = table.require("cert", "\"/path/cert.pem\"").and_then(|value| readable_pem(&value));
    let key = table.require("key", "\"/path/key.pem\"").and_then(|value| readable_pem(&value));
    Some(ServerTls { cert: cert?, key: key?, min_version })
}

/// `[admin]`
pub(super) fn admin(table: &mut Table<'_>, listen: &[Address]) -> Admin {
    let Some(value) = table.take("listen") else { return Admin { listen: Some(defaults::ADMIN_LISTEN) } };
    if value.is("off") {
        return Admin { listen: None };
    }
    let Some(text) = value.text() else { return Admin { listen: None } };
    let Ok(address) = text.parse() else {
        value.refuse("not an address such as 127.0.0.1:9090".to_owned(), "or write \"off\"".to_owned());
        return Admin { listen: None };
    };
    if listen.iter().any(|earlier| is_port_taken(earlier, &Address::Tcp(address))) {
        value.refuse("server.listen has the same address".to_owned(), "choose another port".to_owned());
    }
    Admin { listen: Some(address) }
}
