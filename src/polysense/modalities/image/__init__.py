"""Images: photographs, drawings, scans."""
