/** The lines of a curl command that gets Alice's token from the demonstration's tenant. It works as pasted. */
export function tokenCommand(issuer: string): readonly string[] {
  return [
    `curl -s ${issuer}oauth/token \\`,
    '  -d grant_type=password -d client_id=spa \\',
    '  -d username=alice -d password=wonderland \\',
    '  -d audience=https://storefront.example \\',
    "  -d scope='read:orders write:orders read:inventory'",
  ]
}
