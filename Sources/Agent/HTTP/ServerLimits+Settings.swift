// The HTTP limits that the settings name. When `ServerLimits` gains a limit that operators should set, also here.

import HTTP
import Shared

extension ServerLimits {
  init(_ settings: HTTPLimitSettings) {
    self.init()
    requestLine = settings.requestLine
    head = settings.head
    fields = settings.fields
    body = settings.body
    headTimeout = settings.headTimeout
    bodyIdle = settings.bodyIdle
    idle = settings.idle
    writeStall = settings.writeStall
    connections = settings.connections
  }
}
