//! `HAProxy`'s configuration.

use std::net::SocketAddr;

use super::Place;

pub(super) fn config(addr: SocketAddr, place: &Place<'_>) -> String {
    let (mut bind, mut server) = (String::new(), String::new());
    if let Some(certificates) = place.certificates {
        bind = format!(" ssl crt {} alpn http/1.1", certificates.pair());
        server = format!(" ssl verify required ca-file {} verifyhost localhost", certificates.authority());
    }
    if place.load.per_connection.is_some() {
        bind.push_str(" proto h2");
    }
    if place.load.h2_upstream {
        server.push_str(" proto h2");
    }
    format!(
        "global
  nbthread {cores}
  tune.pool-low-fd-ratio 90
  tune.pool-high-fd-ratio 95
  maxconn {connections}
  ulimit-n {nofile}
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  option http-keep-alive
  option abortonclose
  option http-no-delay
  http-reuse always
frontend in
  bind {addr} backlog 4096{bind}
  default_backend mock
backend mock
  server mock {upstream} pool-max-conn -1{server}
",
        cores = place.cores,
        connections = place.nofile / 2,
        nofile = place.nofile + 256,
        upstream = place.upstream,
    )
}
