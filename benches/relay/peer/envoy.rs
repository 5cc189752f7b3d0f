//! Envoy's configuration. It never buffers answers unless told to.

use std::net::SocketAddr;

use super::Place;
use crate::certificates::Certificates;

const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";

pub(super) fn config(addr: SocketAddr, h2: bool, place: &Place<'_>) -> String {
    let (down, up) = place.certificates.map(sockets).unwrap_or_default();
    let protocol = if h2 { "http2_protocol_options: {}" } else { "http_protocol_options: {}" };
    format!(
        "static_resources:
  listeners:
  - address: {{socket_address: {{address: {host}, port_value: {port}}}}}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": {EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: AUTO
          stream_idle_timeout: 0s
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match: {{prefix: \"/\"}}
                route: {{cluster: mock, timeout: 0s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{\"@type\": {EXTENSIONS}.filters.http.router.v3.Router}}{down}
  clusters:
  - name: mock
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": {EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{{protocol}}}
    load_assignment:
      cluster_name: mock
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {up_host}, port_value: {up_port}}}}}}}{up}
",
        host = addr.ip(),
        port = addr.port(),
        up_host = place.upstream.ip(),
        up_port = place.upstream.port(),
    )
}

/// TLS towards clients, and towards the mock.
fn sockets(certificates: &Certificates) -> (String, String) {
    let down = format!(
        "
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": {EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: {{filename: {}}}
              private_key: {{filename: {}}}",
        certificates.chain(),
        certificates.key(),
    );
    let up = format!(
        "
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": {EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          tls_params: {{tls_maximum_protocol_version: TLSv1_3}}
          validation_context: {{trusted_ca: {{filename: {}}}}}",
        certificates.authority(),
    );
    (down, up)
}
