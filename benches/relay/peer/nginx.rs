//! nginx's configuration.

use std::net::SocketAddr;

use rustix::process::getuid;

use super::Place;

pub(super) fn config(addr: SocketAddr, place: &Place<'_>) -> String {
    // Workers of a root master would drop to a user who may not read the directory.
    let user = if getuid().is_root() { "user root;" } else { "" };
    let masks: Vec<String> = (0..place.cores).map(|core| format!("1{}", "0".repeat(place.cpu + core))).collect();
    let dir = place.dir.display();
    let (mut scheme, mut ssl, mut files) = ("http", "", String::new());
    if let Some(certificates) = place.certificates {
        (scheme, ssl) = ("https", " ssl");
        // By itself nginx 1.22 leaves TLS 1.3 out, and trusts every upstream.
        files = format!(
            "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;
    proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate {};
    proxy_ssl_name localhost; proxy_ssl_server_name on;",
            certificates.chain(),
            certificates.key(),
            certificates.authority(),
        );
    }
    let h2 = if place.load.per_connection.is_some() { " http2" } else { "" };
    format!(
        "daemon off; {user} worker_processes {cores}; worker_cpu_affinity {masks}; worker_rlimit_nofile {nofile};
pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
  access_log off; keepalive_timeout 300s; keepalive_requests 1000000000;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  upstream mock {{ server {upstream}; keepalive 16384; keepalive_requests 1000000000;
    keepalive_timeout {idle}; }}
  server {{
    listen {addr}{ssl}{h2} backlog=4096;
    {files}
    location / {{
      proxy_pass {scheme}://mock; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_buffering off; proxy_read_timeout 300s;
    }}
  }}
}}
",
        cores = place.cores,
        masks = masks.join(" "),
        nofile = place.nofile,
        // It closes connections of its own accord once only a sixteenth of them is free.
        connections = place.nofile + place.nofile / 8,
        // A soak waits until unused connections are closed.
        idle = if place.load.total.is_some() { "5s" } else { "60s" },
        upstream = place.upstream,
    )
}
