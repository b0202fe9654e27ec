// Keeps a foreign web page from posting commands through an operator's browser. Bodies are read whatever their Content-Type says (`curl -d`
// sends a form's), so a page elsewhere could otherwise send one without asking. Browsers say where a request comes from in Sec-Fetch-Site
// (W3C Fetch Metadata), older ones in Origin (RFC 6454); curl sends neither and is not touched.
import HTTP
import HTTPTypes

enum CrossOrigin {
  private static let site = HTTPField.Name("Sec-Fetch-Site")

  /// - Throws: `APIError` 403 for a request that a browser sent from another site's page.
  static func refuse(_ request: Request) throws(APIError) {
    if let site, let from = request.headers[site] {
      guard from == "same-origin" || from == "none" else { throw foreign(from) }
      return
    }
    guard let origin = request.headers[.origin] else { return }
    let host = origin.split(separator: "/", omittingEmptySubsequences: true).dropFirst().first.map(String.init)
    guard let host, host.lowercased() == request.host.lowercased() else { throw foreign(origin) }
  }

  private static func foreign(_ from: String) -> APIError {
    APIError(
      .forbidden, "a browser sent this from another site's page (\(from.prefix(100)))",
      hint: "use this dashboard's own page, or curl; a proxy in front has to pass the Host field on")
  }
}
