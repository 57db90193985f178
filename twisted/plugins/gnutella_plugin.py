from twisted.application.service import ServiceMaker

gnutella = ServiceMaker("gnutella", "gnutella.tap", "A headless Gnutella 0.6 servent.", "gnutella")
