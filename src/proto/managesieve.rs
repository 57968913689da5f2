//! ManageSieve (RFC 5804): how people's programs put their scripts here.
