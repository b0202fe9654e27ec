// One request and its answer as the handler's task sees them: where to deliver to, and how a streamed body runs.

struct Exchange: Sendable {
  let request: Request
  let shared: ServerShared
  let mailbox: Mailbox
  let ticket: Ticket

  /// Hands the answer to the loop; returns when a streamed body has been written.
  func deliver(_ response: Response) async {
    let stream = stream(of: response)
    mailbox.post(.answer(ticket, response, stream?.channel))
    await stream?.run()
  }

  /// The channel of a streamed body and the function that writes it; nil where this answer streams nothing.
  func stream(of response: Response) -> (channel: StreamChannel, run: @Sendable () async -> Void)? {
    guard case .stream(_, let body) = response.body, response.allowsBody, request.method != .head else { return nil }
    let framing = BodyFraming(of: response, isHTTP10: request.head.layout.isHTTP10)
    let (mailbox, ticket) = (mailbox, ticket)
    let channel = StreamChannel(highWater: shared.limits.streamHighWater) { channel in
      mailbox.post(.stream(ticket, channel))
    }
    let endsOnDrain = response.endsOnDrain
    return (channel, { await write(body, to: channel, framing: framing, endsOnDrain: endsOnDrain) })
  }

  private func write(
    _ body: @Sendable (BodyWriter) async throws -> Void, to channel: StreamChannel, framing: BodyFraming,
    endsOnDrain: Bool
  ) async {
    let writer = BodyWriter(channel, framing: framing)
    do {
      do {
        try await body(writer)
      } catch is CancellationError where endsOnDrain && channel.isDraining {
        // Told to end, and it did.
      }
      try writer.finish()
    } catch {
      let clientLeft = channel.isCut
      channel.end(.aborted)
      if !clientLeft { shared.router.reportStreamFailure(error, request) }
    }
  }
}
